package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// flags are the faults that $APP_FLAGS requests.
type flags struct {
	exit      bool
	unhealthy bool
	noGrace   bool
	deaf      bool
	h2c       bool
	tls       bool
	host      string
	boot      time.Duration
	crash     time.Duration
	status    int // What no-grace ends with.
}

func parseFlags(words string) (flags, error) {
	var f flags
	for word := range strings.FieldsSeq(words) {
		name, value, _ := strings.Cut(word, "=")
		var err error
		switch name {
		case "exit":
			f.exit = true
		case "unhealthy":
			f.unhealthy = true
		case "no-grace":
			f.noGrace = true
		case "deaf":
			f.deaf = true
		case "h2c":
			f.h2c = true
		case "tls":
			f.tls = true
		case "host":
			f.host = value
		case "status":
			f.status, err = strconv.Atoi(value)
		case "boot":
			f.boot, err = time.ParseDuration(value)
		case "crash":
			f.crash, err = time.ParseDuration(value)
		default:
			err = fmt.Errorf("no such flag")
		}
		if err != nil {
			return flags{}, fmt.Errorf("APP_FLAGS: %q: %w", word, err)
		}
	}
	return f, nil
}
