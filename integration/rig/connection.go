package rig

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// connection is an HTTP/1.1 client without net/http's kindness: that client
// silently repeats a request whose kept-alive connection broke, and so would
// hide the failures that the traffic is there to count.
type connection struct {
	address string
	timeout time.Duration

	conn   net.Conn
	reader *bufio.Reader
}

// get requests a path and returns the body of a 200.
func (c *connection) get(host, path string) (string, error) {
	body, err := c.exchange(host, path)
	if err != nil {
		c.close()
	}
	return body, err
}

func (c *connection) exchange(host, path string) (string, error) {
	deadline := time.Now().Add(c.timeout)
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.address, c.timeout)
		if err != nil {
			return "", err
		}
		c.conn, c.reader = conn, bufio.NewReader(conn)
	}
	if err := c.conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(c.conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return "", fmt.Errorf("no answer: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", fmt.Errorf("half an answer: %w", err)
	}
	if resp.Close {
		c.close()
	}
	if resp.StatusCode != http.StatusOK {
		return "", errors.New(resp.Status)
	}
	return string(body), nil
}

func (c *connection) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}
