package main

import (
	"encoding/json"
	"os"
	"slices"
	"sync"
	"testing"
)

// row is a line of the table.
type row struct {
	Traffic   string         `json:"traffic"`
	Stage     string         `json:"stage"`
	Tried     map[string]int `json:"tried"` // By kind.
	Converged int            `json:"converged"`
	Sent      int64          `json:"sent"`
	Lost      int64          `json:"lost"`
}

// tally collects the rows.
type tally struct {
	mu   sync.Mutex
	rows []*row
}

func (c *tally) add(traffic string, a attempt, fired, converged bool, u *users) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := slices.IndexFunc(c.rows, func(r *row) bool { return r.Traffic == traffic && r.Stage == a.stage })
	if at < 0 {
		at = len(c.rows)
		c.rows = append(c.rows, &row{Traffic: traffic, Stage: a.stage, Tried: map[string]int{}})
	}
	r := c.rows[at]
	r.Sent += u.sent.Load()
	r.Lost += u.failed.Load()
	if !fired {
		return // The run had fewer operations than the one that was counted.
	}
	r.Tried[string(a.fault.Kind)]++
	if converged {
		r.Converged++
	}
}

func (c *tally) write(t *testing.T, file string) {
	if file == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	data, err := json.MarshalIndent(c.rows, "", "  ")
	if err == nil {
		err = os.WriteFile(file, data, 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}
