package engine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/moby/moby/client"
)

// Exec runs a program in a running container and returns its exit status and
// what it wrote to both streams.
func (c *Client) Exec(ctx context.Context, id string, argv []string) (int, []byte, error) {
	var output bytes.Buffer
	status, err := c.ExecTo(ctx, id, argv, &output, &output)
	return status, output.Bytes(), err
}

// ExecTo is Exec for output that may be long: it is passed on as it comes, by
// one goroutine.
func (c *Client) ExecTo(ctx context.Context, id string, argv []string, stdout, stderr io.Writer) (int, error) {
	v, err := c.ready(ctx)
	if err != nil {
		return -1, err
	}
	what := fmt.Sprintf("run %s in container %s", argv[0], id)
	made, err := c.api.ExecCreate(ctx, id, client.ExecCreateOptions{Cmd: argv, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return -1, c.fail(what, err)
	}
	if err := c.execStart(ctx, v, made.ID, stdout, stderr); err != nil {
		return -1, c.fail(what, err)
	}
	ended, err := c.api.ExecInspect(ctx, made.ID, client.ExecInspectOptions{})
	if err != nil {
		return -1, c.fail(what, err)
	}
	if ended.Running {
		return -1, fmt.Errorf("%s on %s: the output ended before the program did", what, c.host)
	}
	return ended.ExitCode, nil
}

// execStart asks for the output as a plain answer. The client's own way takes
// the connection over, past the transport through which every request goes.
func (c *Client) execStart(ctx context.Context, v version, exec string, stdout, stderr io.Writer) error {
	url := fmt.Sprintf("http://%s/v%s/exec/%s/start", client.DummyHost, v, exec)
	body, err := json.Marshal(map[string]bool{"Detach": false, "Tty": false})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.seam.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var answer struct{ Message string }
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16)) // The status alone is an error, too.
		if json.Unmarshal(text, &answer) == nil && answer.Message != "" {
			text = []byte(answer.Message)
		}
		return fmt.Errorf("%s: %s", resp.Status, text)
	}
	if err := unframe(stdout, stderr, bufio.NewReader(resp.Body)); err != nil {
		return streamError(ctx, err)
	}
	return nil
}
