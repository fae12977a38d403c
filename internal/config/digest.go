package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Digest is the digest of some parts of the configuration, named by key such
// as `env` or `builder.args`; of all of it if none is named. It covers names of
// secrets, never values.
func (c *Config) Digest(keys ...string) string {
	data, err := json.Marshal(c)
	if err != nil {
		panic(fmt.Sprintf("marshal config: %v", err)) //nolint:forbidigo // Its types always marshal.
	}
	if len(keys) == 0 {
		return digestJSON(data)
	}
	var whole map[string]any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&whole); err != nil {
		panic(fmt.Sprintf("decode config: %v", err)) //nolint:forbidigo // It was marshalled a line above.
	}
	parts := map[string]any{}
	for _, key := range keys {
		var part any = whole
		for i, k := range strings.Split(key, ".") {
			if i == 0 && !isKey(k) {
				panic("digest of unknown key " + key) //nolint:forbidigo // A mistake in the calling code: the digest would never change.
			}
			m, _ := part.(map[string]any)
			part = m[k]
		}
		parts[key] = part
	}
	return DigestOf(parts)
}

// isKey reports whether a top-level key of that name exists.
func isKey(name string) bool {
	for f := range reflect.TypeFor[Config]().Fields() {
		if key, _, _ := strings.Cut(f.Tag.Get("json"), ","); key == name {
			return true
		}
	}
	return false
}

// DigestOf is the sha256 digest (`sha256:…`) of v as canonical JSON: keys
// sorted, no blanks, numbers as written.
func DigestOf(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("marshal for digest: %v", err)) //nolint:forbidigo // A mistake in the calling code.
	}
	return digestJSON(data)
}

func digestJSON(data []byte) string {
	var v any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		panic(fmt.Sprintf("decode for digest: %v", err)) //nolint:forbidigo // It was marshalled a line above.
	}
	canonical, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("marshal for digest: %v", err)) //nolint:forbidigo // It was marshalled a line above.
	}
	sum := sha256.Sum256(canonical)
	return "sha256:" + hex.EncodeToString(sum[:])
}
