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
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/state"
)

// Blob is a compressed layer as an engine has pulled it.
type Blob struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

// Packed is an image archive whose layers are compressed when they are needed, once for
// all hosts. Its methods may be called from several goroutines at once.
type Packed struct {
	archive *Archive
	dir     string

	mu     sync.Mutex
	layers map[v1.Hash]func() (layer, error) // By diff ID.
}

// Pack opens the archive of an image, to be offered or streamed. exit.MissingState,
// exit.BadState.
func Pack(file string, image state.Image) (*Packed, error) {
	archive, err := openFor(file, image)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "kstep-layers-")
	if err != nil {
		return nil, errors.Join(local("make temporary folder", err), archive.Close())
	}
	return &Packed{archive: archive, dir: dir, layers: map[v1.Hash]func() (layer, error){}}, nil
}

// Close removes what was compressed. No offer may be served any more.
func (p *Packed) Close() error { return errors.Join(p.archive.Close(), os.RemoveAll(p.dir)) }

// layer is one of the archive's, compressed by the first that needs it.
func (p *Packed) layer(ctx context.Context, name string, diffID v1.Hash) (layer, error) {
	p.mu.Lock()
	get := p.layers[diffID]
	if get == nil {
		get = sync.OnceValues(func() (layer, error) {
			section, err := p.archive.open(name)
			if err != nil {
				return layer{}, local("read layer", err)
			}
			packed, err := pack(context.WithoutCancel(ctx), section, diffID, p.dir) // The others wait for it, too.
			return packed, local("compress layer", err)
		})
		p.layers[diffID] = get
	}
	p.mu.Unlock()
	return get()
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

	asked atomic.Bool
	sent  atomic.Int64
	stale atomic.Bool
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

func (p *Packed) describe(ctx context.Context, name string, diffID v1.Hash, known map[string]Blob) (v1.Descriptor, error) {
	if blob, ok := known[diffID.String()]; ok {
		digest, err := v1.NewHash(blob.Digest)
		if err == nil && blob.Size > 0 {
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
		for _, desc := range image.oci.Layers {
			o.size += desc.Size
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

// Size is how many bytes the layers have, and Sent how many of them were fetched.
func (o *Offer) Size() int64 { return o.size }

// Sent is how many bytes of layers were fetched.
func (o *Offer) Sent() int64 { return o.sent.Load() }

// Reached reports whether an engine has come for it.
func (o *Offer) Reached() bool { return o.asked.Load() }

// Stale reports whether a blob was wanted that is compressed in another way now than when
// the engine pulled it: only an offer that counts on no known blob is of use.
func (o *Offer) Stale() bool { return o.stale.Load() }

// Pull has an engine pull the offer through a listener on its host, which it closes. It
// returns the name by which the engine has the image then, also with an error. progress is
// that of engine.PullImage, as are errors.
func (o *Offer) Pull(ctx context.Context, on *engine.Client, l net.Listener, progress func(done, total int64, msg string)) (name string, err error) {
	server := &http.Server{Handler: o, ReadHeaderTimeout: dialTimeout, ErrorLog: log.New(io.Discard, "", 0)}
	var serving sync.WaitGroup
	var ended error
	serving.Go(func() { ended = server.Serve(l) })
	name = o.Reference(l.Addr())
	login := &engine.Auth{Username: "kstep", Password: o.password, Server: l.Addr().String()}
	err = on.PullImage(ctx, name, login, progress)
	_ = server.Close() // With the connection that it was forwarded by, the listener may be gone.
	serving.Wait()
	if err != nil && !errors.Is(ended, http.ErrServerClosed) {
		err = fmt.Errorf("%w: %w", ErrCut, err)
	}
	return name, err
}

// ErrCut is a pull during which the listener ended: its SSH connection broke.
var ErrCut = errors.New("the connection broke off")

// ServeHTTP is what of the distribution specification an engine needs to pull: manifests and
// blobs, each by its digest.
func (o *Offer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, password, _ := r.BasicAuth()
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	o.asked.Store(true)
	if subtle.ConstantTimeCompare([]byte(password), []byte(o.password)) != 1 {
		w.Header().Set("WWW-Authenticate", `Basic realm="kstep"`)
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED")
		return
	}
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
		o.stale.Store(true)
		refuse(w, http.StatusNotFound, "BLOB_UNKNOWN")
		return
	}
	var content io.ReadCloser
	if err == nil {
		content, err = blob.open()
	}
	if err != nil {
		refuse(w, http.StatusInternalServerError, "UNKNOWN")
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
