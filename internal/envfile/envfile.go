// Package envfile is a role's environment on a host: a JSON object that only
// the SSH user may read. JSON, because the engine's own env-file format cannot
// hold a newline (moby/moby#12997); kstep reads it and hands the values to the
// engine as they are.
package envfile

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode/utf8"

	"github.com/kstep/kstep/internal/host"
)

// Encode writes the variables, sorted by name, one a line. A value that the
// Engine API cannot carry is an error, which does not repeat the value.
func Encode(env map[string]string) ([]byte, error) {
	for name, value := range env {
		switch {
		case name == "" || strings.ContainsAny(name, "=\x00"):
			return nil, fmt.Errorf("%q is not a name for a variable", name)
		case !utf8.ValidString(value):
			return nil, fmt.Errorf("the value of %s is not valid UTF-8", name)
		case strings.ContainsRune(value, 0):
			return nil, fmt.Errorf("the value of %s holds a NUL byte, which no process can receive", name)
		}
	}
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(env); err != nil {
		return nil, err
	}
	return []byte(out.String()), nil
}

// Decode reads what Encode wrote. Its error does not repeat the content.
func Decode(data []byte) (map[string]string, error) {
	var env map[string]string
	if json.Unmarshal(data, &env) != nil {
		return nil, errors.New("env file is not a JSON object of strings")
	}
	return env, nil
}

// Fingerprint shows whether two files are equal without revealing their
// content: it cannot be made or guessed without the host's key.
func Fingerprint(key, data []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write(data)
	return "hmac-sha256:" + hex.EncodeToString(mac.Sum(nil))
}

// Left is the environment that env-push left on a host, with its fingerprint;
// fs.ErrNotExist where it left none. key is where the host's key is.
func Left(ctx context.Context, files host.Files, path, key string) (env map[string]string, fingerprint string, err error) {
	data, err := files.Read(ctx, path)
	if err != nil {
		return nil, "", err
	}
	secret, err := Key(ctx, files, key)
	if err != nil {
		return nil, "", err
	}
	env, err = Decode(data)
	return env, Fingerprint(secret, data), err
}

// Key returns a key of the host's, such as that of fingerprints, and makes one where
// there is none.
// Of two jobs that make it at once, one wins and both use it.
func Key(ctx context.Context, files host.Files, path string) ([]byte, error) {
	for range 2 {
		key, err := Find(ctx, files, path)
		if key != nil || err != nil {
			return key, err
		}
		fresh := make([]byte, 32)
		rand.Read(fresh) // Never fails: crypto/rand.
		if err := files.Create(ctx, path, fresh, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("write key: %w", err)
		}
	}
	return nil, fmt.Errorf("key %s comes and goes", path)
}

// Find returns a key of the host's, or nil where there is none.
func Find(ctx context.Context, files host.Files, path string) ([]byte, error) {
	key, err := files.Read(ctx, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case len(key) < 32:
		return nil, fmt.Errorf("key %s is too short: remove it, and run the same command again (a key of fingerprints: kstep env push)", path)
	}
	return key, nil
}
