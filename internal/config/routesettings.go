package config

import (
	"encoding/json"

	"github.com/kstep/kstep/internal/runopt"
)

// routeSettings are the keys of the proxy that are a part of a service's route, beside
// those that say which requests it takes.
type routeSettings struct {
	StripPathPrefix bool              `json:"strip_path_prefix,omitempty"`
	Redirects       map[string]string `json:"redirects,omitempty"`
	ResponseTimeout Duration          `json:"response_timeout,omitempty"`
	MaxBody         int64             `json:"max_body,omitempty"`
	Compress        bool              `json:"compress,omitempty"`
	Headers         map[string]string `json:"headers,omitempty"`
	Allow           Texts             `json:"allow,omitempty"`
	Middlewares     Middlewares       `json:"middlewares,omitzero"`
	TLS             TLS               `json:"tls,omitzero"`
}

// RouteSettings are what else the service's route does, for the ledger of a release; nil
// where it does nothing else.
func (p Proxy) RouteSettings() json.RawMessage {
	data, err := json.Marshal(routeSettings{
		p.StripPathPrefix, p.Redirects, p.ResponseTimeout, int64(p.MaxBody), p.Compress, p.Headers, p.Allow, p.Middlewares, p.TLS,
	})
	if err != nil || string(data) == "{}" { // Its types always marshal.
		return nil
	}
	return data
}

// WithRouteSettings is the proxy with the settings of a release; nil has none.
func (p Proxy) WithRouteSettings(data json.RawMessage) (Proxy, error) {
	var s routeSettings
	if data != nil {
		if err := json.Unmarshal(data, &s); err != nil {
			return p, err
		}
	}
	p.StripPathPrefix, p.Redirects, p.ResponseTimeout = s.StripPathPrefix, s.Redirects, s.ResponseTimeout
	p.Compress, p.Headers, p.Allow, p.Middlewares, p.TLS = s.Compress, s.Headers, s.Allow, s.Middlewares, s.TLS
	p.MaxBody = runopt.Size(s.MaxBody)
	return p, nil
}
