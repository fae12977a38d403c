package registry

import (
	"fmt"
	"net/http"
)

// encrypted is a transport that sends nothing over plain HTTP, so no login is
// readable on the way. go-containerregistry uses plain HTTP for localhost, for
// 127.0.0.0/8 and for private networks by itself. A registry can also name a token
// service with an http:// address, or redirect to one.
type encrypted struct{ inner http.RoundTripper }

func (e encrypted) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Scheme != "https" {
		if request.Body != nil {
			_ = request.Body.Close() // A transport closes it, also on errors; nothing was read.
		}
		return nil, &plainHTTPError{request.URL.Host}
	}
	return e.inner.RoundTrip(request)
}

// plainHTTPError is a request over plain HTTP that was not sent.
type plainHTTPError struct{ server string }

func (e *plainHTTPError) Error() string {
	return fmt.Sprintf("a request over plain HTTP to %s was not sent", e.server)
}
