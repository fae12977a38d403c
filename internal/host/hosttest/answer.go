package hosttest

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"
)

func matchesLabels(labels map[string]string, want []string) bool {
	for _, term := range want {
		name, value, exact := strings.Cut(term, "=")
		have, ok := labels[name]
		if !ok || exact && have != value {
			return false
		}
	}
	return true
}

// filtersOf reads both forms: lists of values, and sets.
func filtersOf(r *http.Request) map[string][]string {
	found := map[string][]string{}
	var sets map[string]map[string]bool
	text := []byte(r.URL.Query().Get("filters"))
	if json.Unmarshal(text, &sets) != nil {
		json.Unmarshal(text, &found) // No filters, then.
		return found
	}
	for term, values := range sets {
		for value := range values {
			found[term] = append(found[term], value)
		}
		slices.Sort(found[term])
	}
	return found
}

func newID() string {
	id := make([]byte, 32)
	rand.Read(id) // Never fails.
	return hex.EncodeToString(id)
}

// selfSigned is a certificate for the name app.
func selfSigned() tls.Certificate {
	public, private, _ := ed25519.GenerateKey(rand.Reader) // Never fails.
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"app"}, NotAfter: time.Now().Add(time.Hour),
	}
	der, _ := x509.CreateCertificate(rand.Reader, template, template, public, private) // A fixed template.
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

func flush(w http.ResponseWriter) { http.NewResponseController(w).Flush() } // The client notices.

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) // The client notices.
}

func answerList[T any](w http.ResponseWriter, list []T, one func(T) any) {
	out := []any{}
	for _, item := range list {
		out = append(out, one(item))
	}
	answer(w, 200, out)
}

func refuse(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]string{"message": message})
}

func read(w http.ResponseWriter, r *http.Request, into any) bool {
	data, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		refuse(w, 400, "invalid JSON: "+err.Error())
	}
	return err == nil
}
