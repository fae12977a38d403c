package traffic

import (
	"encoding/json"
	"testing"

	"github.com/kstep/kstep/internal/config"
)

func TestTransport_HasWhatTheProxysOwnOptionsSay(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args map[string]string
		want string
	}{
		"none": {nil,
			`{"maxIdleConnsPerHost":200,"forwardingTimeouts":{"dialTimeout":"5s","idleConnTimeout":"100ms"}}`},
		"of something else": {map[string]string{"accesslog": "true", "tcpserverstransport.dialtimeout": "1s"},
			`{"maxIdleConnsPerHost":200,"forwardingTimeouts":{"dialTimeout":"5s","idleConnTimeout":"100ms"}}`},
		"timeouts": {map[string]string{"serversTransport.forwardingTimeouts.responseHeaderTimeout": "20s", "serverstransport.forwardingtimeouts.dialtimeout": "2s"},
			`{"maxIdleConnsPerHost":200,"forwardingTimeouts":{"dialTimeout":"2s","responseHeaderTimeout":"20s","idleConnTimeout":"100ms"}}`},
		"certificates": {map[string]string{"serverstransport.insecureskipverify": "true", "serverstransport.rootcas": "/a.pem,/b.pem", "serverstransport.maxidleconnsperhost": "-1"},
			`{"insecureSkipVerify":true,"rootCAs":["/a.pem","/b.pem"],"maxIdleConnsPerHost":-1,"forwardingTimeouts":{"dialTimeout":"5s","idleConnTimeout":"100ms"}}`},
		"SPIFFE": {map[string]string{"serverstransport.spiffe.trustdomain": "example.org"},
			`{"maxIdleConnsPerHost":200,"forwardingTimeouts":{"dialTimeout":"5s","idleConnTimeout":"100ms"},"spiffe":{"trustDomain":"example.org"}}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := json.Marshal(transportOf(config.Proxy{Args: test.args}))
			if err != nil || string(got) != test.want {
				t.Errorf("got %s, %v, want %s", got, err, test.want)
			}
		})
	}
}
