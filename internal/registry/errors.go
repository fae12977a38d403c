package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/kstep/kstep/internal/exit"
)

// explain gives an error of the registry the exit code and the remedy. what is
// the repository or the act.
func (c *Client) explain(what string, err error) error {
	if err == nil {
		return nil
	}
	if _, known := errors.AsType[*exit.Error](err); known || errors.Is(err, context.Canceled) {
		return err
	}
	if errors.Is(err, errLocal) {
		if errors.Is(err, syscall.ENOSPC) {
			return exit.With(exit.Failed, fmt.Errorf("%s: %w", what, err), "make room in the temporary folder, or point TMPDIR elsewhere")
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	server := displayServer(c.repo)
	// Where HTTP is tried after HTTPS, the certificate is what matters of both.
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	told := &plainError{what + ": " + plain(err), err}
	if answer, ok := errors.AsType[*transport.Error](err); ok && !certificate {
		return exit.With(exit.Registry, told, c.answerHints(server, answer)...)
	}
	return exit.With(exit.Registry, told, c.connectionHints(server, err)...)
}

// plainError says what went wrong without the library's details, such as every
// address that it tried and the URL of a digest.
type plainError struct {
	text string
	err  error
}

func (e *plainError) Error() string { return e.text }

func (e *plainError) Unwrap() error { return e.err }

// plain is the heart of what the library says.
func plain(err error) string {
	if answer, ok := errors.AsType[*transport.Error](err); ok {
		var text strings.Builder
		text.WriteString(fmt.Sprintf("the registry answered %d %s", answer.StatusCode, http.StatusText(answer.StatusCode)))
		for _, d := range answer.Errors {
			text.WriteString(": " + d.Message)
		}
		return text.String()
	}
	if errors.Is(err, http.ErrSchemeMismatch) { // And what was not tried over plain HTTP.
		return http.ErrSchemeMismatch.Error()
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.Error()
	}
	if dial, ok := errors.AsType[*net.OpError](err); ok {
		return dial.Error()
	}
	return err.Error()
}

func (c *Client) answerHints(server string, answer *transport.Error) []string {
	switch code := answer.StatusCode; {
	case code == http.StatusUnauthorized:
		return []string{"the registry " + server + " does not accept the login: " + loginHint(c.cfg, c.repo)}
	case code == http.StatusForbidden:
		return []string{"the login may not do that in " + c.repo.Name() + ": " + loginHint(c.cfg, c.repo)}
	case code == http.StatusNotFound:
		return []string{"check the name " + c.repo.Name() + "; some registries want a repository created before the first push"}
	case code == http.StatusRequestEntityTooLarge:
		return []string{"a proxy in front of " + server + " limits the size of uploads"}
	case code == http.StatusTooManyRequests:
		return []string{server + " limits the number of requests: log in, or try later"}
	case storageFull(answer) || code == http.StatusInsufficientStorage:
		return []string{"the registry " + server + " has no space left: make room there and run push again"}
	case code >= 500:
		return []string{"the registry " + server + " has trouble; look at its logs and run push again, what is uploaded stays"}
	}
	return nil
}

func (c *Client) connectionHints(server string, err error) []string {
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, notTLS := errors.AsType[tls.RecordHeaderError](err)
	_, dns := errors.AsType[*net.DNSError](err)
	unencrypted, other := errors.AsType[*plainHTTPError](err)
	switch {
	case errors.Is(err, http.ErrSchemeMismatch) || notTLS:
		return []string{server + " speaks plain HTTP: set " + c.cfg.RegistryKey(c.repo.RegistryStr()) + ".insecure: true (and list it under insecure-registries of the hosts' engines)"}
	case untrusted:
		return []string{"the certificate of " + server + " is not trusted here: install its authority, or name its file in SSL_CERT_FILE"}
	case dns:
		return []string{"the name of " + server + " cannot be resolved here: check registry.server"}
	case other && unencrypted.server != c.repo.RegistryStr():
		return []string{server + " sends requests on to " + unencrypted.server + " over plain HTTP, where a login can be read: correct that in the registry, or set " + c.cfg.RegistryKey(c.repo.RegistryStr()) + ".insecure: true"}
	case errors.Is(err, syscall.ECONNREFUSED):
		return []string{"nothing answers at " + server + ": is the registry running, and registry.server right?"}
	}
	return []string{"check that " + server + " can be reached from here"}
}

func storageFull(err error) bool {
	text := strings.ToLower(err.Error())
	return strings.Contains(text, "no space left") || strings.Contains(text, "disk full") || strings.Contains(text, "quota exceeded")
}

// errLocal marks what went wrong on this machine.
var errLocal = errors.New("this machine")

// local marks err as having nothing to do with the registry.
func local(act string, err error) error {
	if err == nil {
		return nil
	}
	return &localError{fmt.Errorf("%s: %w", act, err)}
}

type localError struct{ err error }

func (e *localError) Error() string   { return e.err.Error() }
func (e *localError) Unwrap() []error { return []error{e.err, errLocal} }

// absent reports whether a tag is not there. Registries answer 401 or 403 about
// repositories that a push would create, so those count too: a login that is
// really wrong fails at the first upload.
func absent(err error) bool {
	answer, ok := errors.AsType[*transport.Error](err)
	if !ok {
		return false
	}
	switch answer.StatusCode {
	case http.StatusNotFound, http.StatusUnauthorized, http.StatusForbidden:
		return true
	}
	return false
}
