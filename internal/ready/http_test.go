package ready_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/ready"
)

const span = config.Duration(time.Millisecond)

// started starts a container of an image that behaves so, and returns the check
// of it. More of the check is for the test to set.
func started(t *testing.T, image hosttest.Image, b hosttest.Behaviour) ready.Check {
	t.Helper()
	fake := hosttest.NewFake(t, "vm1")
	fake.Engine.AddImage("app:1", image)
	fake.Engine.Behave("app:1", b)
	h := fake.Connect(t)
	if _, err := h.Engine().EnsureNetwork(t.Context(), plan.Network, nil); err != nil {
		t.Fatal(err)
	}
	id, err := h.Engine().Create(t.Context(), engine.Spec{Name: "app", Image: "app:1", Network: plan.Network})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Engine().Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return ready.Check{
		Host: h, Container: id, Target: plan.Target{Host: "vm1", Role: config.Role{Name: "web"}, Proxied: true},
		Health: config.Healthcheck{
			Path: "/up", Port: 3000, Scheme: "http", Verify: true, Status: config.Statuses{{From: 200, To: 399}},
			Interval: 10 * span, Timeout: 2000 * span, Retries: 3, Settle: 400 * span,
		},
	}
}

// wait runs the check. want and hint are parts of the error and its hints; an
// empty want expects a container that is ready.
func wait(t *testing.T, c ready.Check, want, hint string) {
	t.Helper()
	limit := 2 * time.Second // For one answer, on a busy machine.
	if want == "not ready in time" {
		limit = 700 * time.Millisecond
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), limit, errors.New("not ready in time"))
	defer cancel()
	how, err := c.Wait(ctx)
	if want == "" {
		if err != nil {
			t.Errorf("ready by %s: got %v with hints %q, want no error", how, err, exit.Hints(err))
		}
		return
	}
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("got error %v, want one with %q", err, want)
	}
	if hints := strings.Join(exit.Hints(err), "\n"); !strings.Contains(hints, hint) {
		t.Errorf("got hints %q, want %q", hints, hint)
	}
}

// only answers to requests with this Host, as frameworks do: with a port, they
// compare it too, or not.
func only(name string, refusal int) func(hosttest.Process) http.Handler {
	return func(hosttest.Process) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Host != name {
				w.WriteHeader(refusal)
			}
		})
	}
}

func answers(status int, header ...string) func(hosttest.Process) http.Handler {
	return func(hosttest.Process) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if len(header) == 2 {
				w.Header().Set(header[0], header[1])
			}
			w.WriteHeader(status)
		})
	}
}

func TestCheck_AsksWithTheHostThatTheApplicationAnswersTo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ own, sent, want, hint string }{
		"its own name":                     {"shop.example.com", "shop.example.com", "", ""},
		"its own name with a port":         {"shop.example.com:8443", "shop.example.com:8443", "", ""},
		"another name":                     {"shop.example.com", "www.example.com", "GET /up with Host www.example.com answered %d", "does not answer to the name www.example.com, set healthcheck.host"},
		"a name without the port it wants": {"shop.example.com:8443", "shop.example.com", "with Host shop.example.com answered %d", "healthcheck.host"},
		"no name":                          {"shop.example.com", "", "with Host <container address>:3000 answered %d", "sent the container's address as Host (172.18."},
	} {
		for _, refusal := range []int{400, 403, 421} {
			t.Run(fmt.Sprint(name, " ", refusal), func(t *testing.T) {
				t.Parallel()
				check := started(t, hosttest.Image{}, hosttest.Behaviour{Handler: only(c.own, refusal)})
				check.Name = c.sent
				want := c.want
				if want != "" {
					want = fmt.Sprintf(want, refusal)
				}
				wait(t, check, want, c.hint)
			})
		}
	}
}

func TestCheck_SendsTheHeadersAndTakesTheStatusesThatTheUserNames(t *testing.T) {
	t.Parallel()
	token := func(hosttest.Process) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Health") != "yes please" || r.UserAgent() != "probe" {
				w.WriteHeader(http.StatusUnauthorized)
			}
		})
	}
	statuses := func(list ...int) (all config.Statuses) {
		for _, s := range list {
			all = append(all, config.StatusRange{From: s, To: s})
		}
		return all
	}
	for name, c := range map[string]struct {
		handler    func(hosttest.Process) http.Handler
		headers    map[string]string
		status     config.Statuses
		want, hint string
	}{
		"its headers":                   {token, map[string]string{"x-health": "yes please", "User-Agent": "probe"}, nil, "", ""},
		"no headers":                    {token, nil, nil, "answered 401", "needs no login"},
		"401 that means ready":          {token, nil, statuses(200, 401), "", ""},
		"404 that means ready":          {answers(404), nil, statuses(404), "", ""},
		"204 where 200 is wanted":       {answers(204), nil, statuses(200), "GET /up answered 204", "healthcheck.status (now 200)"},
		"a redirect that is not wanted": {answers(302, "Location", "https://172.18.0.2:3000/up"), nil, statuses(200), "answered 302", "X-Forwarded-Proto"},
		"a missing page":                {answers(404), nil, nil, "answered 404", "healthcheck.path"},
		"a server that is not ready":    {answers(503), nil, nil, "GET /up answered 503 Service Unavailable, 3 times in a row", "healthcheck.start_period (now 0s) to that time, or healthcheck.retries (now 3, one each 10ms)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check := started(t, hosttest.Image{}, hosttest.Behaviour{Handler: c.handler})
			check.Health.Headers = c.headers
			if c.status != nil {
				check.Health.Status = c.status
			}
			wait(t, check, c.want, c.hint)
		})
	}
}

func TestCheck_NoticesARedirectThatOnlyAddsTLS(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status         int
		location, sent string
		noticed        bool
	}{
		"the same page":          {301, "https://shop.example.com/up", "shop.example.com", true},
		"the same page, for now": {307, "https://shop.example.com/up?a=b", "Shop.example.com:80", true},
		"no name is known":       {308, "https://172.18.0.2/up", "", true},
		"a login page":           {302, "https://shop.example.com/login", "shop.example.com", false},
		"another host":           {301, "https://www.example.com/up", "shop.example.com", false},
		"the same page, no TLS":  {301, "http://shop.example.com/up", "shop.example.com", false},
		"a page below":           {302, "/login", "shop.example.com", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check := started(t, hosttest.Image{}, hosttest.Behaviour{Handler: answers(c.status, "Location", c.location)})
			check.Name = c.sent
			notice := ""
			check.Notice = func(text string) { notice = text }
			wait(t, check, "", "")
			if (notice != "") != c.noticed || c.noticed && !strings.Contains(notice, "X-Forwarded-Proto") {
				t.Errorf("got notice %q, want one: %t", notice, c.noticed)
			}
		})
	}
}

func TestCheck_SpeaksWhatTheApplicationSpeaks(t *testing.T) {
	t.Parallel()
	plain, h2c, tls := hosttest.Behaviour{}, hosttest.Behaviour{H2C: true}, hosttest.Behaviour{TLS: true}
	for name, c := range map[string]struct {
		scheme     string
		verify     bool
		app        hosttest.Behaviour
		want, hint string
	}{
		"http":                        {"http", true, plain, "", ""},
		"h2c":                         {"h2c", true, h2c, "", ""},
		"https without verification":  {"https", false, tls, "", ""},
		"https with an unknown CA":    {"https", true, tls, "x509", "healthcheck.verify: false"},
		"http to an h2c application":  {"http", true, h2c, "not ready in time", "set healthcheck.scheme: h2c"},
		"http to a TLS application":   {"http", true, tls, "answered 400", "set healthcheck.scheme: https"},
		"h2c to an http application":  {"h2c", true, plain, "not ready in time", "does not speak HTTP/2 without TLS on port 3000"},
		"https to an http server":     {"https", false, plain, "not ready in time", "does not speak TLS on port 3000"},
		"https to an h2c application": {"https", false, h2c, "not ready in time", "does not speak TLS on port 3000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check := started(t, hosttest.Image{}, c.app)
			check.Health.Scheme, check.Health.Verify, check.Certificate = c.scheme, c.verify, "app"
			wait(t, check, c.want, c.hint)
		})
	}
}

func TestCheck_NamesThePortsOfTheImageWhereNothingListens(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		exposed []string
		b       hosttest.Behaviour
		hint    string
	}{
		"another port":            {[]string{"8080/tcp"}, hosttest.Behaviour{Port: 8080}, "the image exposes 8080: set healthcheck.port: 8080"},
		"one of several ports":    {[]string{"9000/tcp", "8080/tcp", "53/udp"}, hosttest.Behaviour{Port: 8080}, "the image exposes 8080, 9000: set healthcheck.port to the right one"},
		"the right port, nowhere": {[]string{"3000/tcp"}, hosttest.Behaviour{Silent: true}, "nothing listens on port 3000 (healthcheck.port); the application must listen on 0.0.0.0, not on 127.0.0.1"},
		"no port is told":         {nil, hosttest.Behaviour{Silent: true}, "0.0.0.0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wait(t, started(t, hosttest.Image{Expose: c.exposed}, c.b), "refused", c.hint)
		})
	}
}

func TestCheck_WithoutACheckADeadlineNamesTheSettlingTime(t *testing.T) {
	t.Parallel()
	check := started(t, hosttest.Image{}, hosttest.Behaviour{})
	check.Target.Proxied, check.Health.Settle = false, 60_000*span
	ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, exit.Errorf(exit.Deadline, "not ready within 2s"))
	defer cancel()
	_, err := check.Wait(ctx)
	if err == nil || err.Error() != "not ready within 2s: it has no health check, so it must stay up for 1m0s" || exit.CodeOf(err) != exit.Deadline {
		t.Errorf("got %v", err)
	}
	if hints := strings.Join(exit.Hints(err), "\n"); !strings.Contains(hints, "healthcheck.settle") || !strings.Contains(hints, "barrier.timeout") {
		t.Errorf("got the hints %q", hints)
	}
}

func TestCheck_WithoutACheckAContainerMustStayUp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		crash  time.Duration
		settle config.Duration
		proven bool
		want   string
	}{
		"it stays up":                           {0, 100 * span, false, ""},
		"it ends while it settles":              {200 * time.Millisecond, 500 * span, false, "container ended with exit status 1"},
		"it ends after it has settled":          {500 * time.Millisecond, 100 * span, false, ""},
		"it served before and needs no more":    {0, 60_000 * span, true, ""},
		"it served before and ends at once":     {50 * time.Millisecond, 60_000 * span, true, "container ended with exit status 1"},
		"the user trusts it as soon as it runs": {0, 0, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check := started(t, hosttest.Image{}, hosttest.Behaviour{Crash: c.crash})
			check.Target.Proxied, check.Health.Settle, check.Proven = false, c.settle, c.proven
			wait(t, check, c.want, "")
		})
	}
}
