package schema_test

import (
	"reflect"
	"testing"

	"github.com/kstep/kstep/schema"
)

func TestValidateState_NamesThePlaceAndTheFault(t *testing.T) {
	const head = `"apiVersion":"kstep/v1","kind":"StageState","release":"r","service":"s","version":"v","exitCode":0,"sum":"sha256:0",
		"tool":{"name":"kstep","version":"1"},"actor":{},"config":"c","started":"2026-01-01T00:00:00Z","finished":"2026-01-01T00:00:00Z"`
	for name, tt := range map[string]struct {
		doc  string
		want []string
	}{
		"all is well":               {`{` + head + `,"stage":"assets","status":"ok","outputs":{"targets":{}}}`, nil},
		"unknown fields are let be": {`{` + head + `,"stage":"assets","status":"ok","later":1,"outputs":{"targets":null,"new":2}}`, nil},
		"no outputs":                {`{` + head + `,"stage":"push","status":"failed"}`, nil},
		"a missing field":           {`{` + head + `,"status":"ok"}`, []string{"/stage is missing"}},
		"a strange status":          {`{` + head + `,"stage":"push","status":"faild"}`, []string{"/status must be ok, unchanged, partial, failed or interrupted; did you mean \"failed\"?"}},
		"outputs of another stage":  {`{` + head + `,"stage":"boot","status":"ok","outputs":{"targets":{}}}`, []string{"/outputs/switch is missing"}},
		"a wrong type deep down": {
			`{` + head + `,"stage":"assets","status":"ok","outputs":{"targets":{"web@h/1":{"volumes":[{"path":1,"hostDir":"/x"}]}}}}`,
			[]string{"/outputs/targets/web@h~11/volumes/0/path must be text, not a number"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			doc, err := schema.Decode([]byte(tt.doc))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range schema.ValidateState(doc) {
				got = append(got, p.Pointer()+" "+p.Message)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestClosest_FindsTypingErrorsOnly(t *testing.T) {
	known := []string{"service", "servers", "ssh", "image", "gpu", "healthcheck"}
	for word, want := range map[string]string{
		"servres": "servers", "servcie": "service", "sshh": "ssh", "gpuu": "gpu", "Image": "image",
		"healthchek": "healthcheck", "health": "", "accessories": "", "x": "", "": "",
	} {
		if got, _ := schema.Closest(word, known); got != want {
			t.Errorf("Closest(%q): got %q, want %q", word, got, want)
		}
	}
}
