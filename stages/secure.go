package stages

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/probe"
	"github.com/kstep/kstep/internal/proxy"
	"github.com/kstep/kstep/internal/traffic"
)

// certificatePause is between two looks at the certificates.
const certificatePause = 250 * time.Millisecond

// loadTime is how long the proxy may take to read a file with certificates.
const loadTime = 2 * time.Second

// Secure makes the target's route send plain HTTP to HTTPS, once the proxy presents a
// certificate for each host name. It waits for them as long as an authority usually
// takes, and reports those that are missing. It never fails a release: plain HTTP serves
// in any case.
func Secure(ctx context.Context, in Input, w *Work, front engine.Container) error {
	missing, err := secure(ctx, in, w, front)
	if missing != "" {
		in.Warn("%s", missing)
	}
	return err
}

// EnsureCertificates is Secure for commands with no other task: a missing
// certificate is a failure.
func EnsureCertificates(ctx context.Context, in Input, w *Work, front engine.Container) error {
	missing, err := secure(ctx, in, w, front)
	if err == nil && missing != "" {
		err = exit.With(exit.Failed, errors.New(missing))
	}
	return err
}

// Redirects reports whether the target's route sends plain HTTP to HTTPS.
func Redirects(ctx context.Context, in Input, w *Work) (bool, error) {
	return in.secured(w).Redirects(ctx)
}

func (in Input) secured(w *Work) traffic.Role {
	return traffic.Role{Host: w.Host, Names: w.Names, Name: w.Target.Role.Name, Config: in.Config}
}

// secure returns what is said of certificates that are missing, or nothing.
func secure(ctx context.Context, in Input, w *Work, front engine.Container) (missing string, err error) {
	if !in.Config.Proxy.TLS.On {
		return "", nil
	}
	role := in.secured(w)
	redirected, err := role.Redirects(ctx)
	if err != nil {
		return "", err
	}
	gone, err := withoutOwn(ctx, in, w, front)
	if err != nil {
		return "", err
	}
	all := outdated(proxy.Certificates(ctx, w.Host, front, in.Config.Proxy.Names()), gone)
	if !redirected {
		all = awaitCertificates(ctx, in, w, front, all, gone)
	}
	if len(proxy.Pending(all)) > 0 {
		return missingCertificates(ctx, w.Host.Name(), all, redirected), nil
	}
	if redirected || !in.Config.Proxy.TLS.Redirect {
		return "", nil
	}
	if err := role.Redirect(ctx); err != nil {
		return "", err
	}
	if err := redirects(ctx, in, w, front); err != nil {
		return "", err
	}
	w.Made(To(Write, "the redirect of %s to HTTPS", w.Target.Role.Name))
	return "", nil
}

// withoutOwn takes the service's own certificates away where an authority issues them now:
// the proxy orders nothing for a name that it has a certificate for. It returns those that
// it presented so far.
func withoutOwn(ctx context.Context, in Input, w *Work, front engine.Container) ([]proxy.Certificate, error) {
	if !in.Config.Proxy.TLS.Issued() {
		return nil, nil
	}
	at := w.Names.CertificateFile()
	if _, err := w.Host.Files().Stat(ctx, at); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	gone := proxy.Certificates(ctx, w.Host, front, in.Config.Proxy.Names())
	if err := w.Host.Files().Remove(ctx, host.Inside(w.Names.ProxyDir(), at)); err != nil {
		return nil, err
	}
	w.Made(To(Remove, "the certificates of its own"))
	return gone, nil
}

// outdated marks the certificates that were taken away, and are presented all the same.
func outdated(all, gone []proxy.Certificate) []proxy.Certificate {
	for i, c := range all {
		if slices.Contains(gone, c) && c.Problem == "" {
			all[i].Problem = "the proxy still presents the certificate that was taken away"
		}
	}
	return all
}

// redirects waits until the proxy answers plain HTTP with the redirect.
func redirects(ctx context.Context, in Input, w *Work, front engine.Container) error {
	limit := in.Config.Cutover.Timeout.D()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, exit.Errorf(exit.Deadline, "the proxy did not redirect to HTTPS within %s", limit))
	defer cancel()
	client := probe.Client(w.Host, lookupTime)
	defer client.CloseIdleConnections()
	name := config.SampleName(in.Config.Proxy.Hosts[0])
	request := probe.Request{URL: proxy.URL(config.Proxy{}, front, name, in.Config.Proxy.PathPrefix), Host: name}
	for {
		answer, _ := probe.Once(ctx, client, request) // One that fails is sent again.
		if strings.HasPrefix(answer.Header.Get("Location"), "https://"+name) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(redirectPause):
		}
	}
}

// redirectPause is between two requests for the redirect.
const redirectPause = 20 * time.Millisecond

// awaitCertificates looks until each name has a certificate, at most as long as the proxy
// may take for a move: an authority needs some seconds where the names lead to the host,
// and never comes to an end where they do not.
func awaitCertificates(ctx context.Context, in Input, w *Work, front engine.Container, all, gone []proxy.Certificate) []proxy.Certificate {
	limit := in.Config.Cutover.Timeout.D()
	if !in.Config.Proxy.TLS.Issued() { // Files are there at once or not at all.
		limit = min(limit, loadTime)
	}
	waiting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	said := false
	for pending := proxy.Pending(all); proxy.WorthWaiting(all); pending = proxy.Pending(all) {
		if !said && in.Config.Proxy.TLS.Issued() {
			w.Say("waiting for the certificate of %s", strings.Join(pending, ", "))
			said = true
		}
		select {
		case <-waiting.Done():
			return all
		case <-time.After(certificatePause):
		}
		for _, c := range outdated(proxy.Certificates(waiting, w.Host, front, pending), gone) {
			if waiting.Err() != nil {
				return all
			}
			at := slices.IndexFunc(all, func(o proxy.Certificate) bool { return o.Name == c.Name })
			all[at] = c
		}
	}
	return all
}

// missingCertificates says which names have none, where each leads, and what serves
// meanwhile.
func missingCertificates(ctx context.Context, machine string, all []proxy.Certificate, redirected bool) string {
	var lines []string
	for _, c := range all {
		if c.Problem != "" {
			lines = append(lines, fmt.Sprintf("%s: %s; %s", c.Name, c.Problem, leads(ctx, c.Name, machine)))
		}
	}
	serves := "plain HTTP serves without a redirect meanwhile, and the proxy goes on trying; run kstep certs ensure once the cause is gone"
	if redirected {
		serves = "requests are redirected to HTTPS, where clients refuse this certificate"
	}
	return fmt.Sprintf("HTTPS on %s is not ready: %s. %s", machine, strings.Join(lines, ". "), serves)
}

// lookupTime bounds a question to the name servers.
const lookupTime = 3 * time.Second

// leads says which addresses a name has, and which the machine has.
func leads(ctx context.Context, name, machine string) string {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	bare, wildcard := strings.CutPrefix(name, "*.")
	if wildcard {
		return "its DNS provider's API answers for it, see kstep proxy logs"
	}
	has := lookup(ctx, bare)
	if len(has) == 0 {
		return "no name server knows an address of it: add a DNS record that leads to " + machine
	}
	wants := lookup(ctx, machine)
	if len(wants) == 0 || slices.ContainsFunc(has, func(a string) bool { return slices.Contains(wants, a) }) {
		return fmt.Sprintf("its address is %s; port 80 there must be open to the authority (kstep proxy logs shows its answer)", strings.Join(has, ", "))
	}
	return fmt.Sprintf("its address is %s, and %s has %s: change its DNS record", strings.Join(has, ", "), machine, strings.Join(wants, ", "))
}

func lookup(ctx context.Context, name string) []string {
	found, err := net.DefaultResolver.LookupHost(ctx, name)
	if err != nil {
		return nil
	}
	slices.Sort(found)
	return found[:min(len(found), 4)]
}
