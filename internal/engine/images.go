package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/client"
)

// Image observes one image by id, tag or digest; ErrNotFound if it is not on
// the host.
func (c *Client) Image(ctx context.Context, ref string) (Image, error) {
	if _, err := c.ready(ctx); err != nil {
		return Image{}, err
	}
	answer, err := c.api.ImageInspect(ctx, ref)
	if err != nil {
		return Image{}, c.fail("inspect image "+ref, err)
	}
	return imageInspected(answer.InspectResponse), nil
}

// Images lists images, newest first.
func (c *Client) Images(ctx context.Context, f Filter) ([]Image, error) {
	if _, err := c.ready(ctx); err != nil {
		return nil, err
	}
	terms := f.labels()
	if f.Reference != "" {
		terms.Add("reference", f.Reference)
	}
	if f.Dangling {
		terms.Add("dangling", "true")
	}
	answer, err := c.api.ImageList(ctx, client.ImageListOptions{Filters: terms})
	if err != nil {
		return nil, c.fail("list images", err)
	}
	list := make([]Image, len(answer.Items))
	for i, item := range answer.Items {
		list[i] = imageListed(item)
	}
	slices.SortStableFunc(list, func(a, b Image) int { return b.Created.Compare(a.Created) })
	return list, nil
}

// PullImage brings an image to the host. Only package registry calls it, which
// picks the login. The login goes with this one request and
// is not stored there. progress may be nil; it gets the sums over all layers.
// ErrUnauthorized, ErrNotFound, ErrRegistry, ErrDiskFull.
func (c *Client) PullImage(ctx context.Context, ref string, auth *Auth, progress func(done, total int64, msg string)) error {
	if _, err := c.ready(ctx); err != nil {
		return err
	}
	what := "pull " + ref
	options := client.ImagePullOptions{}
	if auth != nil {
		header, err := authconfig.Encode(registry.AuthConfig{
			Username: auth.Username, Password: auth.Password, ServerAddress: auth.Server,
		})
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		options.RegistryAuth = header
	}
	err := c.pull(ctx, ref, options, progress)
	if lost(ctx, err) { // What was pulled already is not pulled again.
		err = c.pull(ctx, ref, options, progress)
	}
	if err != nil {
		return c.fail(what, err)
	}
	if ended := Ended(ctx); ended != nil {
		return fmt.Errorf("%s on %s: %w", what, c.host, ended)
	}
	return nil
}

func (c *Client) pull(ctx context.Context, ref string, options client.ImagePullOptions, progress func(done, total int64, msg string)) error {
	answer, err := c.api.ImagePull(ctx, ref, options)
	if err != nil {
		return err
	}
	defer answer.Close()
	layers := layers{}
	// The status was 200 long ago: what goes wrong now is a line of the stream.
	for message, err := range answer.JSONMessages(ctx) {
		if err != nil {
			return streamError(ctx, err)
		}
		if message.Error != nil {
			return errors.New(message.Error.Message)
		}
		if progress != nil && layers.note(message) {
			done, total := layers.sum()
			progress(done, total, message.Status)
		}
	}
	return nil
}

// LoadImage brings an image to the host from an archive as `docker save` writes it, under
// the names that it has there. The archive is read once; an error of its own is returned
// as it is. ErrDiskFull.
func (c *Client) LoadImage(ctx context.Context, archive io.Reader) error {
	if _, err := c.ready(ctx); err != nil {
		return err
	}
	const what = "load image"
	answer, err := c.api.ImageLoad(ctx, archive, client.ImageLoadWithQuiet(true))
	if err != nil {
		return c.fail(what, err)
	}
	defer answer.Close()
	messages := json.NewDecoder(io.LimitReader(answer, maxAnswer))
	for {
		var message jsonstream.Message
		switch err := messages.Decode(&message); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return c.fail(what, streamError(ctx, err))
		case message.Error != nil:
			return c.fail(what, errors.New(message.Error.Message))
		}
	}
}

// streamError is a stream that broke: the connection's fault, unless the
// caller ended it.
func streamError(ctx context.Context, err error) error {
	if ended := Ended(ctx); ended != nil {
		return &transportError{ended}
	}
	return &transportError{err}
}

// layers sums the progress of a pull.
type layers map[string]*jsonstream.Progress

func (l layers) note(m jsonstream.Message) bool {
	switch {
	case m.ID == "":
		return false
	case m.Status == "Downloading" && m.Progress != nil:
		l[m.ID] = m.Progress
	case m.Status == "Download complete" || m.Status == "Pull complete":
		if p := l[m.ID]; p != nil {
			l[m.ID] = &jsonstream.Progress{Current: p.Total, Total: p.Total}
		}
	default:
		return false
	}
	return true
}

func (l layers) sum() (done, total int64) {
	for _, p := range l {
		done += p.Current
		total += p.Total
	}
	return done, total
}

// Tag gives an image one more name.
func (c *Client) Tag(ctx context.Context, ref, tag string) error {
	if _, err := c.ready(ctx); err != nil {
		return err
	}
	_, err := c.api.ImageTag(ctx, client.ImageTagOptions{Source: ref, Target: tag})
	return c.fail(fmt.Sprintf("tag image %s as %s", ref, tag), err)
}

// RemoveImage takes the name away, and the image with its last name. A missing
// one is fine; ErrConflict if a container needs it.
func (c *Client) RemoveImage(ctx context.Context, ref string) error {
	if _, err := c.ready(ctx); err != nil {
		return err
	}
	_, err := c.api.ImageRemove(ctx, ref, client.ImageRemoveOptions{PruneChildren: true})
	if err == nil || cerrdefs.IsNotFound(err) {
		return nil
	}
	return c.fail("remove image "+ref, err)
}

// PruneDangling removes the images that have these labels, no tag and no
// container, and returns their ids.
func (c *Client) PruneDangling(ctx context.Context, labels map[string]string) ([]string, error) {
	if _, err := c.ready(ctx); err != nil {
		return nil, err
	}
	terms := Filter{Labels: labels}.labels().Add("dangling", "true")
	answer, err := c.api.ImagePrune(ctx, client.ImagePruneOptions{Filters: terms})
	if err != nil {
		return nil, c.fail("remove dangling images", err)
	}
	var removed []string
	for _, one := range answer.Report.ImagesDeleted {
		if one.Deleted != "" {
			removed = append(removed, one.Deleted)
		}
	}
	return removed, nil
}
