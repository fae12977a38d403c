package ready

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/probe"
)

// forwardedHint is for applications that redirect every request without TLS.
const forwardedHint = "if TLS ends before the application, set healthcheck.headers: {X-Forwarded-Proto: https}"

// explained adds to the failure of the HTTP request what it may come from, and
// the keys that change it.
func (k Check) explained(err error, c engine.Container) error {
	if sick, ok := errors.AsType[*probe.SickError](err); ok {
		return exit.Hint(k.withHost(sick), k.sickHints(sick, c)...)
	}
	if hint := k.connectionHint(err, c); hint != "" {
		return exit.Hint(err, hint)
	}
	return err
}

// refusesHost reports whether frameworks give this answer to a Host header that
// they do not know.
func refusesHost(status int) bool {
	return slices.Contains([]int{http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusMisdirectedRequest}, status)
}

// withHost names the Host header where the application may have refused it. The
// address is left out: the same failure on two hosts should look the same.
func (k Check) withHost(sick *probe.SickError) error {
	if !refusesHost(sick.Last.Status) || sick.Last.PlainToTLS {
		return sick
	}
	sent := k.Name
	if sent == "" {
		sent = fmt.Sprintf("<container address>:%d", k.Health.Port)
	}
	return fmt.Errorf("GET %s with Host %s %w, %d times in a row", sick.Path, sent, sick.Last, sick.Times)
}

func (k Check) sickHints(sick *probe.SickError, c engine.Container) []string {
	port, status := k.Health.Port, sick.Last.Status
	switch {
	case sick.Last.PlainToTLS:
		return []string{fmt.Sprintf("the application speaks TLS on port %d: set healthcheck.scheme: https", port)}
	case k.redirectsToHTTPS(sick.Last.Answer) != "":
		return []string{"the application redirects to https; " + forwardedHint}
	case k.Health.Scheme == "h2c" && slices.Contains([]int{http.StatusMethodNotAllowed, http.StatusUnsupportedMediaType}, status):
		return []string{fmt.Sprintf("gRPC servers answer a GET like this: set healthcheck.status: [200, %d], or a healthcheck.cmd such as grpc_health_probe", status)}
	case refusesHost(status):
		hints := []string{k.hostHint(c)}
		if status == http.StatusNotFound {
			hints = append(hints, fmt.Sprintf("if the application has no %s, set healthcheck.path to a path that it has", k.Health.Path))
		}
		return hints
	case status == http.StatusUnauthorized:
		return []string{"set healthcheck.path to a path that needs no login, or healthcheck.status: [200, 401] if this answer means that the application is ready"}
	case status >= 500:
		return []string{fmt.Sprintf("it answered so for %s; if the application needs longer to start, set healthcheck.start_period (now %s) to that time, or healthcheck.retries (now %d, one each %s) higher",
			sick.Took.Round(100*time.Millisecond), k.Health.StartPeriod, k.Health.Retries, k.Health.Interval)}
	}
	return []string{fmt.Sprintf("healthcheck.status (now %s) is which answers mean ready, healthcheck.path (now %s) which path is requested", k.Health.Status, k.Health.Path)}
}

func (k Check) hostHint(c engine.Container) string {
	if k.Name == "" {
		return fmt.Sprintf("kstep knows no host name of the application and sent the container's address as Host (%s); if the application answers to its own names only, set healthcheck.host to one of them",
			net.JoinHostPort(plan.Address(c), strconv.Itoa(k.Health.Port)))
	}
	return fmt.Sprintf("if the application does not answer to the name %s, set healthcheck.host to one that it answers to", k.Name)
}

// connectionHint is for requests that got no answer at all.
func (k Check) connectionHint(err error, c engine.Container) string {
	text := err.Error()
	hungUp := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
	switch {
	case host.IsRefused(err):
		return k.refusedHint(c)
	case strings.Contains(text, "x509:"):
		return "healthcheck.verify: false accepts every certificate; healthcheck.host is the name that it must have"
	case k.Health.Scheme == "https" && (hungUp || strings.Contains(text, "server gave HTTP response to HTTPS client") || strings.Contains(text, "first record does not look like a TLS handshake")):
		return fmt.Sprintf("the application does not speak TLS on port %d: set healthcheck.scheme: http or h2c", k.Health.Port)
	case k.Health.Scheme == "h2c" && (hungUp || strings.Contains(text, "http2:")):
		return fmt.Sprintf("the application does not speak HTTP/2 without TLS on port %d: set healthcheck.scheme: http or https", k.Health.Port)
	case k.Health.Scheme == "http" && (hungUp || strings.Contains(text, "malformed HTTP")):
		return fmt.Sprintf("something listens on port %d and does not speak HTTP/1: set healthcheck.scheme: h2c for HTTP/2 without TLS (gRPC), or https for TLS", k.Health.Port)
	}
	return ""
}

// refusedHint compares the port with those that the image names.
func (k Check) refusedHint(c engine.Container) string {
	hint := fmt.Sprintf("nothing listens on port %d (healthcheck.port)", k.Health.Port)
	var ports []string
	for _, exposed := range c.Exposed {
		if number, protocol, _ := strings.Cut(exposed, "/"); protocol == "tcp" {
			ports = append(ports, number)
		}
	}
	switch own := strconv.Itoa(k.Health.Port); {
	case len(ports) == 1 && ports[0] != own:
		hint += fmt.Sprintf("; the image exposes %s: set healthcheck.port: %s", ports[0], ports[0])
	case len(ports) > 0 && !slices.Contains(ports, own):
		hint += fmt.Sprintf("; the image exposes %s: set healthcheck.port to the right one", strings.Join(ports, ", "))
	}
	return hint + "; the application must listen on 0.0.0.0, not on 127.0.0.1"
}

// redirectsToHTTPS is where the answer redirects to, if that is the same page
// with TLS.
func (k Check) redirectsToHTTPS(answer probe.Answer) string {
	if !slices.Contains([]int{301, 302, 307, 308}, answer.Status) {
		return ""
	}
	to, err := url.Parse(answer.Header.Get("Location"))
	if err != nil || to.Scheme != "https" || k.Health.Scheme == "https" {
		return ""
	}
	asked, err := url.Parse(k.Health.Path)
	if err != nil || to.Path != asked.Path {
		return ""
	}
	if name, _, err := net.SplitHostPort(k.Name); k.Name != "" && !strings.EqualFold(to.Hostname(), k.Name) && (err != nil || !strings.EqualFold(to.Hostname(), name)) {
		return ""
	}
	if to.Host = strings.Map(printable, to.Host); len(to.Host) > 255 {
		to.Host = to.Host[:255] + "…"
	}
	return "https://" + to.Host + to.Path
}

// printable leaves out what an answer must not bring into a message.
func printable(r rune) rune {
	if !unicode.IsPrint(r) {
		return -1
	}
	return r
}
