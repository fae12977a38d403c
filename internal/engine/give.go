package engine

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/moby/moby/client"
)

// Gift is files of an image that another container gets.
type Gift struct {
	// Extract names the image; its Folders are not used.
	Extract
	// Folder is the folder in the image.
	Folder string
	// Container gets the files, running or not, in its folder Path.
	Container, Path string
	// Wanted chooses files and folders by their path below Folder.
	Wanted func(name string) bool
}

// Give copies files of an image into a container. The engine unpacks them inside
// of the container, so that no link there leads it to a path of the host. The
// files pass through this machine. It returns those that it left out: hard links
// to files that are not wanted.
func (c *Client) Give(ctx context.Context, x Gift) (left []string, err error) {
	if _, err := c.ready(ctx); err != nil {
		return nil, err
	}
	err = c.withContainer(ctx, x.Extract, nil, func(id string) error {
		folder, err := c.folderIn(ctx, x.Extract, id, x.Folder) // An archive of a link has no files.
		if err != nil {
			return err
		}
		from, err := c.CopyFrom(ctx, id, folder)
		if err != nil {
			return err
		}
		defer from.Close()
		reader, writer := io.Pipe()
		var chosen error
		var all sync.WaitGroup
		all.Go(func() {
			left, chosen = choose(from, writer, x.Wanted)
			writer.CloseWithError(chosen)
		})
		_, err = c.api.CopyToContainer(ctx, x.Container, client.CopyToContainerOptions{DestinationPath: x.Path, Content: reader})
		reader.Close()
		from.Close()
		all.Wait()
		if chosen != nil && !errors.Is(chosen, io.ErrClosedPipe) {
			return fmt.Errorf("copy %s out of image %s on %s: %w", x.Folder, x.Image, c.host, chosen)
		}
		return c.fail(fmt.Sprintf("copy files into %s of container %s", x.Path, x.Container), err)
	})
	return left, err
}

// choose copies those entries of an archive that are wanted, by their names below
// the folder that it is of.
func choose(from io.Reader, to io.Writer, wanted func(name string) bool) (left []string, err error) {
	reader, writer := tar.NewReader(from), tar.NewWriter(to)
	for {
		head, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return left, writer.Close()
		}
		if err != nil {
			return left, err
		}
		name := inFolder(head.Name)
		if name == "" || !wanted(name) {
			continue
		}
		if head.Typeflag == tar.TypeLink {
			target := inFolder(head.Linkname)
			if !wanted(target) {
				left = append(left, name)
				continue
			}
			head.Linkname = target
		}
		head.Name = name
		if err := writer.WriteHeader(head); err != nil {
			return left, err
		}
		if _, err := io.Copy(writer, reader); err != nil {
			return left, err
		}
	}
}

// inFolder is the path of an entry below the folder that the archive is of.
func inFolder(entry string) string {
	_, below, _ := strings.Cut(strings.TrimPrefix(entry, "./"), "/")
	return strings.Trim(below, "/")
}
