package proxy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/probe"
	"github.com/kstep/kstep/internal/traffic"
)

// Word queries Traefik's API, which listens on the container's networks only
// and is reached through the host's connection.
type Word struct {
	client *http.Client
	base   string
	// password is empty for a proxy of an earlier version of kstep, whose API is open.
	password string
}

var _ traffic.Word = (*Word)(nil)

// NewWord queries the proxy in the container.
func NewWord(h host.Host, c engine.Container) *Word {
	return &Word{
		client: probe.Client(h, 5*time.Second),
		base:   fmt.Sprintf("http://%s:%d", c.Addresses[plan.Network], apiPort),

		password: c.Labels[engine.LabelProxyAPI],
	}
}

// URL is where the proxy takes requests for a host name, as seen from the host: by HTTPS
// where the service is served that way, and the proxy serves it.
func URL(p config.Proxy, c engine.Container, name, requestPath string) string {
	if isSecure(p, c) {
		return "https://" + name + requestPath
	}
	return fmt.Sprintf("http://%s:%d%s", c.Addresses[plan.Network], traffic.PlainPort, requestPath)
}

func isSecure(p config.Proxy, c engine.Container) bool { return p.TLS.On && lacks(p, c) == "" }

// Client sends requests through the proxy. It does not check the proxy's certificates,
// which may not be issued yet: a request checks which route answers.
func Client(h host.Host, p config.Proxy, c engine.Container, timeout time.Duration) *http.Client {
	if !isSecure(p, c) {
		return probe.Client(h, timeout)
	}
	return probe.SecureClient(h, secureAddress(c), timeout)
}

func secureAddress(c engine.Container) string {
	return net.JoinHostPort(c.Addresses[plan.Network], strconv.Itoa(traffic.SecurePort))
}

// Servers implements traffic.Word. A server that Traefik marks as down is not
// sent traffic, and is left out.
func (w *Word) Servers(ctx context.Context, service string) ([]string, bool, error) {
	var answer struct {
		LoadBalancer struct {
			Servers []struct {
				URL string `json:"url"`
			} `json:"servers"`
		} `json:"loadBalancer"`
		ServerStatus map[string]string `json:"serverStatus"`
	}
	known, err := w.get(ctx, "/services/"+url.PathEscape(service), &answer)
	if err != nil || !known {
		return nil, false, err
	}
	var urls []string
	for _, s := range answer.LoadBalancer.Servers {
		if status, told := answer.ServerStatus[s.URL]; !told || status == "UP" {
			urls = append(urls, s.URL)
		}
	}
	return urls, true, nil
}

// Router implements traffic.Word.
func (w *Word) Router(ctx context.Context, router string) (string, error) {
	var answer struct {
		Service string `json:"service"`
	}
	_, err := w.get(ctx, "/routers/"+url.PathEscape(router), &answer)
	return answer.Service, err
}

// Middlewares implements traffic.Word.
func (w *Word) Middlewares(ctx context.Context, router string) ([]string, error) {
	var answer struct {
		Middlewares []string `json:"middlewares"`
	}
	_, err := w.get(ctx, "/routers/"+url.PathEscape(router), &answer)
	return answer.Middlewares, err
}

// Broken implements traffic.Word.
func (w *Word) Broken(ctx context.Context, router string) (string, error) {
	var answer struct {
		Status string   `json:"status"`
		Error  []string `json:"error"`
	}
	known, err := w.get(ctx, "/routers/"+url.PathEscape(router), &answer)
	if err != nil || !known || answer.Status != "disabled" {
		return "", err
	}
	return cmp.Or(strings.Join(answer.Error, "; "), "it says no reason"), nil
}

// routerStatus is what Traefik says of one router.
type routerStatus struct {
	// Status is `enabled`, `warning` or `disabled`.
	Status string `json:"status"`
}

// routers are all that the proxy knows, by name with provider.
func (w *Word) routers(ctx context.Context) (map[string]routerStatus, error) {
	var answer struct {
		Routers map[string]routerStatus `json:"routers"`
	}
	known, err := w.at(ctx, "/api/rawdata", maxRawData, &answer)
	if err == nil && !known {
		err = errors.New("the proxy has no API")
	}
	return answer.Routers, err
}

// Bounds of the API's answers, in bytes.
const (
	maxAnswer  = 1 << 20
	maxRawData = 32 << 20
)

// Rivals are routers that may take requests for a host name from the named one
// of kstep's: enabled, of no lower priority, and about that name or any. There
// are three at most.
func (w *Word) Rivals(ctx context.Context, own, host string) ([]string, error) {
	var all []struct {
		Name, Rule, Status, Provider string
		EntryPoints                  []string
		Priority                     int
	}
	if _, err := w.get(ctx, "/routers?per_page=1000", &all); err != nil {
		return nil, err
	}
	least := 0
	for _, r := range all {
		if r.Name == own+"@file" {
			least = r.Priority
		}
	}
	var rivals []string
	for _, r := range all {
		about := host == "" || strings.Contains(r.Rule, "`"+host+"`") || !strings.Contains(r.Rule, "Host(")
		elsewhere := len(r.EntryPoints) > 0 && !slices.Contains(r.EntryPoints, "web")
		if elsewhere || strings.HasPrefix(r.Name, own) || r.Status != "enabled" || r.Priority < least || !about || r.Provider == "internal" {
			continue
		}
		if rivals = append(rivals, fmt.Sprintf("%s (%.100s)", r.Name, r.Rule)); len(rivals) == 3 {
			break
		}
	}
	return rivals, nil
}

func (w *Word) get(ctx context.Context, path string, into any) (known bool, err error) {
	return w.at(ctx, "/api/http"+path, maxAnswer, into)
}

func (w *Word) at(ctx context.Context, path string, limit int64, into any) (known bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base+path, nil)
	if err != nil {
		return false, err
	}
	if w.password != "" {
		req.SetBasicAuth(apiUser, w.password)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return false, fmt.Errorf("query the proxy: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	if err != nil {
		return false, fmt.Errorf("query the proxy: %w", err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return false, nil
	default:
		return false, fmt.Errorf("query the proxy: %w", &probe.StatusError{Answer: probe.Answer{Status: resp.StatusCode}})
	}
	if err := json.Unmarshal(body, into); err != nil {
		return false, fmt.Errorf("understand the proxy: %w", err)
	}
	return true, nil
}
