package route

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

const commentMark = "# kstep.route/v1 "

// Comment is the first line of a route file, which says whose it is.
func (c Claim) Comment() []byte {
	data, _ := json.Marshal(c) // Strings only: cannot fail.
	return append([]byte(commentMark), append(data, '\n')...)
}

// Split parts a route file into its claim and the rest. ok is false where there
// is no claim; an error is one that kstep would not have written. The text may
// come from any user who can write to the host.
func Split(data []byte) (c Claim, rest []byte, ok bool, err error) {
	first, rest, _ := bytes.Cut(data, []byte("\n"))
	text, ok := strings.CutPrefix(string(first), commentMark)
	if !ok {
		if bytes.HasPrefix(first, []byte("# kstep.route/")) {
			return Claim{}, data, false, fmt.Errorf("written by a newer kstep")
		}
		return Claim{}, data, false, nil
	}
	decode := json.NewDecoder(strings.NewReader(text))
	decode.DisallowUnknownFields()
	if err := decode.Decode(&c); err != nil {
		return Claim{}, rest, false, fmt.Errorf("read its owner: %w", err)
	}
	if decode.More() {
		return Claim{}, rest, false, fmt.Errorf("read its owner: more follows")
	}
	if err := c.check(); err != nil {
		return Claim{}, rest, false, fmt.Errorf("read its owner: %w", err)
	}
	return c, rest, true, nil
}
