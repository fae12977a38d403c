package registry

import (
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
)

// Request is an archive to be pushed under tags.
type Request struct {
	// Archive is the file. It is opened only when there is something to push.
	Archive string
	Format  string
	Image   state.Image
	// Tags are set in order; the first one is the version.
	Tags []string
	// Own is what an earlier push of the same release left, if there was one.
	Own *state.PushOutputs
}

// Pushed is where the image is now.
type Pushed struct {
	Digest   string
	Uploaded int64 // Bytes of blobs and manifests that were sent.
	Changed  bool
}

// Push brings the image into the repository and sets its tags. It looks
// first: what is there is neither compressed nor sent again, and a push that
// was broken off goes on where it was.
func (c *Client) Push(ctx context.Context, req Request) (Pushed, error) {
	pushed, err := c.push(ctx, req)
	pushed.Uploaded = c.sent.Load()
	if ctx.Err() != nil {
		return pushed, ctx.Err()
	}
	if err != nil {
		return pushed, c.explain(c.repo.Name(), err)
	}
	return pushed, nil
}

func (c *Client) push(ctx context.Context, req Request) (Pushed, error) {
	version := c.repo.Tag(req.Tags[0])
	there, err := c.head(ctx, version.TagStr())
	if err != nil {
		return Pushed{}, err
	}
	source := source{client: c, req: req}
	defer source.close()
	same, err := source.isAt(ctx, there)
	if err != nil {
		return Pushed{}, err
	}
	if same {
		changed, err := c.retag(ctx, there.Digest, req.Tags[1:])
		return Pushed{Digest: there.Digest.String(), Changed: changed}, err
	}
	if there != nil {
		c.sink.Emit(report.Event{Kind: report.Warning, Message: fmt.Sprintf(
			"the registry has another image as %s (%s); this one replaces it", version, there.Digest)})
	}
	image, err := source.upload(ctx, there)
	if err != nil {
		return Pushed{}, err
	}
	for _, tag := range req.Tags {
		if err := c.put(ctx, tag, image); err != nil {
			return Pushed{}, fmt.Errorf("tag %s: %w", tag, err)
		}
	}
	digest, err := image.Digest()
	if err != nil {
		return Pushed{}, err
	}
	return Pushed{Digest: digest.String(), Changed: true}, c.verify(ctx, version.TagStr(), digest)
}

// Lacking returns what Push would have to do: upload the image, or only set
// some of its tags. Of an image that is there it returns the digest.
func (c *Client) Lacking(ctx context.Context, req Request) (digest string, tags []string, err error) {
	there, err := c.head(ctx, req.Tags[0])
	if err == nil {
		source := source{client: c, req: req}
		defer source.close()
		var same bool
		if same, err = source.isAt(ctx, there); err == nil && !same {
			return "", req.Tags, nil
		}
	}
	for _, tag := range req.Tags[1:] {
		var at *v1.Descriptor
		if err != nil {
			break
		}
		if at, err = c.head(ctx, tag); err == nil && (at == nil || at.Digest != there.Digest) {
			tags = append(tags, tag)
		}
	}
	if err != nil {
		return "", nil, c.explain(c.repo.Name(), err)
	}
	return there.Digest.String(), tags, nil
}

// verify checks that the registry has what it accepted.
func (c *Client) verify(ctx context.Context, tag string, want v1.Hash) error {
	got, err := c.head(ctx, tag)
	if err != nil {
		return err
	}
	if got == nil || got.Digest != want {
		return fmt.Errorf("the registry accepted %s as %s, but does not have it", want, tag)
	}
	return nil
}

// retag sets those of tags that do not point at digest yet.
func (c *Client) retag(ctx context.Context, digest v1.Hash, tags []string) (changed bool, err error) {
	var image *remote.Descriptor
	for _, tag := range tags {
		there, err := c.head(ctx, tag)
		if err != nil {
			return changed, err
		}
		if there != nil && there.Digest == digest {
			continue
		}
		if image == nil {
			if image, err = c.get(ctx, digest.String()); err != nil {
				return changed, err
			}
		}
		if err := c.put(ctx, tag, image); err != nil {
			return changed, fmt.Errorf("tag %s: %w", tag, err)
		}
		changed = true
	}
	return changed, nil
}

// head looks a tag up; nil means that it is not there.
func (c *Client) head(ctx context.Context, tag string) (desc *v1.Descriptor, err error) {
	err = c.retry(ctx, func() error {
		desc, err = c.puller.Head(ctx, c.repo.Tag(tag))
		return err
	})
	if absent(err) {
		return nil, nil
	}
	return desc, err
}

// get fetches a manifest by tag or digest.
func (c *Client) get(ctx context.Context, identifier string) (desc *remote.Descriptor, err error) {
	ref, err := c.reference(identifier)
	if err != nil {
		return nil, err
	}
	err = c.retry(ctx, func() error {
		desc, err = c.puller.Get(ctx, ref)
		return err
	})
	return desc, err
}

func (c *Client) put(ctx context.Context, tag string, image remote.Taggable) error {
	return c.retry(ctx, func() error { return c.pusher.Put(ctx, c.repo.Tag(tag), image) })
}
