package registry

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kstep/kstep/internal/engine"
)

// Blob is a compressed layer as an engine has pulled it.
type Blob struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

// Offer is a packed image for one engine, in a registry that is served by this process.
// Only who knows the offer's password gets it.
type Offer struct {
	repository string
	password   string
	manifests  map[string]rawManifest
	top        v1.Hash
	blobs      map[v1.Hash]func(context.Context) (layer, error)
	layers     map[string]Blob // By diff ID.
	size       int64

	reached atomic.Bool
	sent    atomic.Int64
	failure atomic.Pointer[error]
}

// Offer makes the offer for an engine that has pulled layers before: known are their blobs,
// by diff ID. They are not compressed again only to learn their digests.
func (p *Packed) Offer(ctx context.Context, repository string, known map[string]Blob) (*Offer, error) {
	o := &Offer{
		repository: repository, password: rand.Text(),
		manifests: map[string]rawManifest{}, blobs: map[v1.Hash]func(context.Context) (layer, error){}, layers: map[string]Blob{},
	}
	if p.archive.Format() == FormatOCI {
		return o, p.offerOCI(o)
	}
	image := p.archive.images[0]
	config := blobLayer(image.config, types.DockerConfigJSON)
	o.blobs[config.desc.Digest] = func(context.Context) (layer, error) { return config, nil }
	var descs []v1.Descriptor
	for i, diffID := range image.file.RootFS.DiffIDs {
		desc, err := p.describe(ctx, image.layers[i], diffID, known)
		if err != nil {
			return nil, err
		}
		descs = append(descs, desc)
		if _, twice := o.blobs[desc.Digest]; !twice {
			o.size += desc.Size
		}
		o.layers[diffID.String()] = Blob{Digest: desc.Digest.String(), Size: desc.Size}
		o.blobs[desc.Digest] = func(ctx context.Context) (layer, error) { return p.layer(ctx, image.layers[i], diffID) }
	}
	made, err := newManifest(config, descs)
	if err != nil {
		return nil, err
	}
	return o, o.put(made)
}

// describe is a layer's blob: what the engine knows of it, or what it is once compressed.
func (p *Packed) describe(ctx context.Context, name string, diffID v1.Hash, known map[string]Blob) (v1.Descriptor, error) {
	if blob, ok := known[diffID.String()]; ok && blob.Size > 0 {
		section, err := p.archive.open(name)
		if err != nil {
			return v1.Descriptor{}, local("read layer", err)
		}
		digest, err := v1.NewHash(blob.Digest)
		if _, is := compressed(section); err == nil && !is { // One that is compressed has its digest.
			return v1.Descriptor{MediaType: types.DockerLayer, Size: blob.Size, Digest: digest}, nil
		}
	}
	packed, err := p.layer(ctx, name, diffID)
	return packed.desc, err
}

// offerOCI offers the bytes of an OCI archive as they are.
func (p *Packed) offerOCI(o *Offer) error {
	for _, image := range p.archive.images {
		made := rawManifest{raw: image.raw, mediaType: types.OCIManifestSchema1}
		if image.oci.MediaType != "" {
			made.mediaType = image.oci.MediaType
		}
		if err := o.put(made); err != nil {
			return err
		}
		for _, desc := range append([]v1.Descriptor{image.oci.Config}, image.oci.Layers...) {
			o.blobs[desc.Digest] = func(context.Context) (layer, error) {
				return layer{desc: desc, open: ociLayer{archive: p.archive, desc: desc}.Compressed}, nil
			}
		}
		if len(p.archive.images) == 1 {
			for _, desc := range image.oci.Layers {
				o.size += desc.Size
			}
		}
	}
	if index := p.archive.index; index != nil {
		return o.put(rawManifest{raw: index.raw, mediaType: index.desc.MediaType})
	}
	return nil
}

// put adds a manifest; the last one is what an engine pulls.
func (o *Offer) put(m rawManifest) error {
	digest, err := m.Digest()
	o.manifests[digest.String()], o.top = m, digest
	return err
}

// Reference is what an engine pulls that reaches the offer at an address.
func (o *Offer) Reference(address net.Addr) string {
	return fmt.Sprintf("%s/%s@%s", address, o.repository, o.top)
}

// Layers are the blobs that the image is made of here, by diff ID. An engine that has
// pulled the offer knows them.
func (o *Offer) Layers() map[string]Blob { return o.layers }

// Size is how many bytes the layers have; of several platforms it is not known which one
// the engine takes, and it is 0.
func (o *Offer) Size() int64 { return o.size }

// Sent is how many bytes of blobs were fetched.
func (o *Offer) Sent() int64 { return o.sent.Load() }

// Reached reports whether the engine has come for it. Others do not have the password.
func (o *Offer) Reached() bool { return o.reached.Load() }

// Failure is why a blob could not be served; nil if all could.
func (o *Offer) Failure() error {
	if err := o.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// ErrStale is a blob that is compressed in another way now than when the engine pulled it.
var ErrStale = errors.New("the layer is compressed in another way now")

// Pull has an engine pull the offer through a listener on its host, which it closes. It
// returns the name by which the engine has the image then, also with an error. progress is
// that of engine.PullImage, as are errors.
func (o *Offer) Pull(ctx context.Context, on *engine.Client, l net.Listener, progress func(done, total int64, msg string)) (name string, err error) {
	server := &http.Server{Handler: o, ReadHeaderTimeout: dialTimeout, ErrorLog: log.New(io.Discard, "", 0)}
	pulling, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			cut(fmt.Errorf("%w: %w", ErrCut, err))
		}
	}()
	name = o.Reference(l.Addr())
	login := &engine.Auth{Username: "kstep", Password: o.password, Server: l.Addr().String()}
	err = on.PullImage(pulling, name, login, progress)
	go server.Close() // It waits for the host to close the port, which a broken connection does by itself.
	select {
	case <-closed:
	case <-time.After(closeTime):
	}
	if broken := context.Cause(pulling); err != nil && ctx.Err() == nil && broken != nil && !errors.Is(err, ErrCut) {
		err = fmt.Errorf("%w: %w", broken, err)
	}
	return name, err
}

// closeTime is how long the end of a pull waits for the port on the host to be closed.
const closeTime = 3 * time.Second

// ErrCut is a pull during which the listener ended: its SSH connection broke.
var ErrCut = errors.New("the connection broke off")

// ServeHTTP is what of the distribution specification an engine needs to pull: manifests and
// blobs, each by its digest.
func (o *Offer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, password, _ := r.BasicAuth()
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if subtle.ConstantTimeCompare([]byte(password), []byte(o.password)) != 1 {
		w.Header().Set("WWW-Authenticate", `Basic realm="kstep"`)
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED")
		return
	}
	o.reached.Store(true)
	rest, below := strings.CutPrefix(r.URL.Path, "/v2/"+o.repository+"/")
	digest, isManifest := strings.CutPrefix(rest, "manifests/")
	hex, isBlob := strings.CutPrefix(rest, "blobs/")
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED")
	case r.URL.Path == "/v2/":
		w.WriteHeader(http.StatusOK)
	case below && isManifest:
		o.serveManifest(w, r, digest)
	case below && isBlob:
		o.serveBlob(w, r, hex)
	default:
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN")
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errors":[{"code":%q}]}`, code)
}

func (o *Offer) serveManifest(w http.ResponseWriter, r *http.Request, digest string) {
	m, ok := o.manifests[digest]
	if !ok {
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN")
		return
	}
	w.Header().Set("Content-Type", string(m.mediaType))
	w.Header().Set("Docker-Content-Digest", digest)
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(m.raw)))
}

func (o *Offer) serveBlob(w http.ResponseWriter, r *http.Request, name string) {
	digest, err := v1.NewHash(name)
	get := o.blobs[digest]
	if err != nil || get == nil {
		refuse(w, http.StatusNotFound, "BLOB_UNKNOWN")
		return
	}
	blob, err := get(r.Context())
	if err == nil && blob.desc.Digest != digest {
		err = ErrStale
	}
	var content io.ReadCloser
	if err == nil {
		content, err = blob.open()
	}
	if err != nil {
		if r.Context().Err() == nil {
			o.failure.CompareAndSwap(nil, &err)
		}
		refuse(w, http.StatusNotFound, "BLOB_UNKNOWN") // The engine does not try again.
		return
	}
	defer content.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Docker-Content-Digest", name)
	http.ServeContent(&counting{w, &o.sent}, r, "", time.Time{}, content.(io.ReadSeeker)) // All are files or parts of one.
}

// counting counts the bytes of an answer.
type counting struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.sent.Add(int64(n))
	return n, err
}
