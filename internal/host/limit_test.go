package host

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestRead_HasALimit(t *testing.T) {
	t.Parallel()
	for title, c := range map[string]struct {
		size int64
		want error
	}{
		"empty": {0, nil}, "at the limit": {MaxRead, nil}, "one more": {MaxRead + 1, ErrTooLarge}, "endless": {1 << 40, ErrTooLarge},
	} {
		if data, err := limited(io.LimitReader(endless{}, c.size)); !errors.Is(err, c.want) || err == nil && int64(len(data)) != c.size {
			t.Errorf("%s: got %d bytes, %v, want %v", title, len(data), err, c.want)
		}
		var buffer bytes.Buffer
		if _, err := io.Copy(&capped{&buffer, MaxRead}, io.LimitReader(endless{}, c.size)); !errors.Is(err, c.want) || buffer.Len() > MaxRead {
			t.Errorf("%s over SFTP: got %d bytes, %v, want %v", title, buffer.Len(), err, c.want)
		}
	}
}
