package state

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
)

// MaxSize is the largest state file that is read or written. Real ones have a
// few kilobytes; the bound is for files that are something else.
const MaxSize = 16 << 20

// digest is the name of some bytes, as the chain uses it.
func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Digest is the digest of a value's JSON, for Config and the like.
func Digest(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("digest: %w", err)
	}
	return digest(data), nil
}

const emptySum = `"sum": ""` + "\n}\n"

// sumTail is how every file ends. Sum is the envelope's last field, so the
// bytes that it covers are plain: those of the file with this tail emptied.
var sumTail = regexp.MustCompile(`"sum": "(sha256:[0-9a-f]{64})"\n\}\n$`)

// encode renders a file in its one canonical form, with its seal and its sum.
func encode(f *File, key []byte) ([]byte, error) {
	bare := *f
	bare.Seal, bare.Sum = "", ""
	return render(&bare, key)
}

// render renders a document without a seal whose last field is an empty sum, and
// fills in both; without a key only the sum.
func render(bare any, key []byte) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(bare); err != nil {
		return nil, fmt.Errorf("encode state: %w", err)
	}
	data, ok := bytes.CutSuffix(buf.Bytes(), []byte(emptySum))
	if !ok {
		return nil, fmt.Errorf("encode state: the sum is not the last field")
	}
	if key != nil {
		data = fmt.Appendf(slices.Clip(data), "\"seal\": %q,\n  ", seal(buf.Bytes(), key))
	}
	sum := digest(append(slices.Clip(data), emptySum...))
	return fmt.Appendf(slices.Clip(data), "\"sum\": %q\n}\n", sum), nil
}

// key is the secret of the seals, or nil.
func (o Options) key() ([]byte, error) {
	if o.Key == nil {
		return nil, nil
	}
	return o.Key()
}

// vouch returns an error if data lacks the seal that it has to have. what is to be
// done about it.
func (o Options) vouch(path string, data []byte, hints ...string) error {
	key, err := o.key()
	if err != nil || key == nil || sealedWith(key, data) {
		return err
	}
	return bad(path, "is not sealed with the secret of state.key: it was written without the key, or with another one", hints...)
}

func seal(bare, key []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write(bare)
	return "hmac-sha256:" + hex.EncodeToString(mac.Sum(nil))
}

// sealTail is how a file with a seal ends.
var sealTail = regexp.MustCompile(`"seal": "(hmac-sha256:[0-9a-f]{64})",\n  "sum": "sha256:[0-9a-f]{64}"\n\}\n$`)

// sealedWith reports whether data has the seal that belongs to the key.
func sealedWith(key, data []byte) bool {
	end := tail(data, 256)
	loc := sealTail.FindSubmatchIndex(end)
	if loc == nil {
		return false
	}
	bare := append(bytes.Clone(data[:len(data)-len(end)+loc[0]]), emptySum...)
	return hmac.Equal(end[loc[2]:loc[3]], []byte(seal(bare, key)))
}

// intact reports whether data still has the sum it was written with.
func intact(data []byte) bool {
	loc := sumTail.FindSubmatchIndex(tail(data, 128))
	if loc == nil {
		return false
	}
	cut := len(data) - len(tail(data, 128))
	claimed := string(data[cut+loc[2] : cut+loc[3]])
	bare := append(bytes.Clone(data[:cut+loc[0]]), emptySum...)
	return digest(bare) == claimed
}

func tail(data []byte, n int) []byte { return data[max(0, len(data)-n):] }

// volatile are a stage's output keys about the run, not about its result: two runs
// that differ only here mean the same to the stages behind them.
func volatile(stage string) []string {
	keys := []string{
		"uploaded", "tookMs", "at", "switched", "probe", "before",
		"drain", "restarts", "replaced", "stopped", "restarted", "images", "folders", // Done once, and gone in a rerun.
	}
	switch stage {
	case "prune", "abort": // What was removed, or serves again; no stage acts upon it.
		keys = append(keys, "containers")
	}
	return keys
}

// sameOutputs reports whether the stages behind a and b may treat them alike.
func sameOutputs(a, b *File) bool {
	if a.Stage != b.Stage || a.Release != b.Release || a.Version != b.Version {
		return false
	}
	x, errX := material(a.Stage, a.Outputs)
	y, errY := material(b.Stage, b.Outputs)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func material(stage string, outputs json.RawMessage) ([]byte, error) {
	if len(outputs) == 0 {
		return nil, nil
	}
	dec := json.NewDecoder(bytes.NewReader(outputs))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	strip(v, volatile(stage))
	return json.Marshal(v)
}

func strip(v any, keys []string) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range keys {
			delete(v, key)
		}
		for _, inner := range v {
			strip(inner, keys)
		}
	case []any:
		for _, inner := range v {
			strip(inner, keys)
		}
	}
}
