package kamal

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// healthcheck translates Kamal's 2.x `proxy.healthcheck` and 1.x `healthcheck`.
func (im *importer) healthcheck(p pair, http bool, out ...string) {
	for _, q := range p.value.pairs {
		key := keyPath(out...) + "." + q.key
		if !im.v1 && out[0] == "healthcheck" {
			key = "proxy." + key
		}
		below := append(slices.Clip(out), q.key)
		if q.value.kind == null {
			continue
		}
		switch q.key {
		case "path", "host", "port":
			if !im.v1 && q.key == "port" {
				im.lost(Other, key, q.at(), "kstep checks the port that gets the requests: %s", im.show(q.value))
				continue
			}
			if !http {
				im.dropped(key, q.at(), "there is no HTTP check where there is no traffic")
				continue
			}
			if q.key == "port" {
				im.number(key, q.value, below...)
				continue
			}
			im.put(words(im.value(key, orEmpty(q.value)), q.value, false), below...)
		case "interval", "timeout":
			im.put(im.seconds(key, q.value), below...)
		case "cmd":
			im.put(words(im.value(key, q.value), q.value, false), below...)
		case "max_attempts":
			im.attempts(key, p, q, out)
		case "cord", "log_lines", "exposed_port":
			im.dropped(key, q.at(), "kstep needs no such setting")
		default:
			im.lost(Other, key, q.at(), "kstep has no such key: %s", im.show(q.value))
		}
	}
}

// attempts gives kstep's check as much time as Kamal's growing pauses: 1 s, 2 s,
// and so on up to the number of attempts.
func (im *importer) attempts(key string, p, q pair, out []string) {
	n, ok := number(q.value)
	if !ok || n < 1 || n > 10_000 {
		im.lost(Other, key, q.at(), "is not a number: %s", im.show(q.value))
		return
	}
	total := time.Duration(n*(n+1)/2) * time.Second
	every := im.duration(p.value.get("interval"), time.Second)
	retries := max(1, int((total+every-1)/every))
	im.put(words(strconv.Itoa(retries), q.value, true), append(slices.Clip(out), "retries")...)
	im.changed(Other, key, q.at(), "%d attempts with growing pauses are %d checks with the same pause between them, for at least as long", n, retries)
	if total > 2*time.Minute {
		im.put(words(fmt.Sprintf("%ds", int(total.Seconds())), q.value, false), "barrier", "timeout")
	}
}

// duration is a time span of Kamal's; bare numbers are seconds.
func (im *importer) duration(n *node, other time.Duration) time.Duration {
	if n == nil || n.kind != scalar || mark.MatchString(n.text) {
		return other
	}
	d, err := time.ParseDuration(im.seconds("", n).text)
	if err != nil || d <= 0 {
		return other
	}
	return d
}

// timeouts translates the time-outs of the top level.
func (im *importer) timeouts() {
	if n := im.in.get("deploy_timeout"); n != nil && n.kind == scalar {
		im.deployTimeout(n)
	}
	var longest *node
	for _, key := range []string{"drain_timeout", "stop_timeout", "stop_wait_time"} {
		n := im.in.get(key)
		if n == nil || n.kind != scalar {
			continue
		}
		if longest == nil || im.duration(n, 0) > im.duration(longest, 0) {
			longest = n
		}
		if key == "drain_timeout" {
			im.changed(Other, key, n, "is stop.timeout: how long a container may take to end; cutover.drain limits the wait for requests before that")
		}
	}
	if longest != nil {
		im.put(im.seconds("drain_timeout", longest), "stop", "timeout")
	}
}

func (im *importer) deployTimeout(n *node) {
	im.put(im.seconds("deploy_timeout", n), "barrier", "timeout")
	im.changed(Other, "deploy_timeout", n, "is barrier.timeout, and healthcheck.retries is high enough for it")
	limit := im.duration(n, 0)
	check := im.out.get("healthcheck")
	if limit == 0 || im.out.get("healthcheck", "retries") != nil {
		return
	}
	every := im.duration(check.get("interval"), time.Second)
	retries := max(30, int((limit+every-1)/every))
	im.put(words(strconv.Itoa(retries), n, true), "healthcheck", "retries")
}
