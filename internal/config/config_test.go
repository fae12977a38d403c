package config

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

func wantError(t *testing.T, err error, text, hint string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Fatalf("got error %v, want one with %q", err, text)
	}
	if hints := strings.Join(exit.Hints(err), "\n"); !strings.Contains(hints, hint) {
		t.Errorf("got hints %q, want %q", hints, hint)
	}
}

const full = `service: shop
image: acme/shop
registry: {server: registry:5000, username: [USER], password: [PASSWORD]}
servers:
  web:
    hosts: [10.0.0.1, 10.0.0.2: gpu]
    healthcheck: {port: 81, start_period: 0s}
    stop: {signal: SIGQUIT}
    labels: {a: 2}
    volumes: ["/own:/data/"]
    asset_paths: []
  job:
    hosts: [10.0.0.2]
    cmd: [run, "a b"]
    logging: {driver: json-file}
    start: after-barrier
  api: {hosts: [10.0.0.3], proxy: true, asset_path: /api}
env:
  clear: {URL: "pg://${DB}@$$host", N: 1.10}
  secret: [DB, TOKEN:SHOP_TOKEN]
  tags: {gpu: {clear: {W: "${DB}"}, secret: [CUDA]}}
healthcheck: {path: /health, start_period: 5s}
stop: {timeout: 7}
logging: {driver: syslog}
labels: {a: 1, b: 1}
volumes: [/top:/data, cache:/cache:ro]
asset_path: /assets
builder: {secrets: [GH], args: {V: 1.10}}
ssh: {key_data: [KEY], config: false}
proxy: {publish: false}
cutover: {drain: 0, probe: false}
`

func TestConfig_RolesStandOverTheTopLevel(t *testing.T) {
	cfg := mustLoad(t, full)
	web, _ := cfg.Role("web")
	job, _ := cfg.Role("job")
	api, ok := cfg.Role("api")
	if _, none := cfg.Role("none"); none || !ok {
		t.Error("got a role that is not there, or not the one that is")
	}
	hc := cfg.EffectiveHealthcheck(web)
	same(t, "health port", hc.Port, 81)
	same(t, "health path", hc.Path, "/health")
	same(t, "health start period", hc.StartPeriod, Duration(0))
	same(t, "health of job", cfg.EffectiveHealthcheck(job), cfg.Healthcheck)
	same(t, "stop", cfg.EffectiveStop(web), Stop{Signal: "SIGQUIT", Timeout: Duration(7e9)})
	same(t, "logging of web", cfg.EffectiveLogging(web), Logging{Driver: "syslog"})
	same(t, "logging of job", cfg.EffectiveLogging(job), Logging{Driver: "json-file", Options: map[string]string{"max-size": "10m"}})
	same(t, "labels", cfg.EffectiveLabels(web), map[string]string{"a": "2", "b": "1"})
	same(t, "volumes", cfg.EffectiveVolumes(web), []string{"cache:/cache:ro", "/own:/data/"})
	same(t, "assets of web", cfg.EffectiveAssetPaths(web), []string{})
	same(t, "assets of job", cfg.EffectiveAssetPaths(job), []string{"/assets"})
	same(t, "assets of api", cfg.EffectiveAssetPaths(api), []string{"/api"})
	same(t, "proxied", []bool{cfg.Proxied(web), cfg.Proxied(job), cfg.Proxied(api)}, []bool{true, false, true})
	same(t, "hosts", cfg.Hosts(), []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"})
	same(t, "repository", cfg.Repository(), "registry:5000/acme/shop")
}

func TestSecretNames_TellsWhereEachIsUsed(t *testing.T) {
	same(t, "secrets", mustLoad(t, full).SecretNames(), []SecretUse{
		{"CUDA", []string{"env.tags.gpu.secret[0]"}},
		{"DB", []string{"env.secret[0]"}},
		{"GH", []string{"builder.secrets[0]"}},
		{"KEY", []string{"ssh.key_data[0]"}},
		{"PASSWORD", []string{"registry.password[0]"}},
		{"SHOP_TOKEN", []string{"env.secret[1]"}},
		{"USER", []string{"registry.username"}},
	})
}

func TestShow_NamesSecretsButNeverTheirValues(t *testing.T) {
	cfg := mustLoad(t, full)
	same(t, "value for the container", cfg.Env.Clear["URL"], "pg://hunter2@$host")
	shown, err := cfg.Show()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(shown), "hunter2") {
		t.Errorf("got the value of a secret in\n%s", shown)
	}
	if !strings.Contains(string(shown), "URL: pg://${DB}@$$host") {
		t.Errorf("got no URL with a named secret in\n%s", shown)
	}
	again := mustLoad(t, string(shown))
	again.Path, again.Entries = cfg.Path, cfg.Entries // Of another file.
	same(t, "config loaded from what is shown", again, cfg)
}

func TestDigest_CoversNamedPartsAndNoSecretValue(t *testing.T) {
	a := mustLoad(t, full)
	b := mustLoad(t, strings.Replace(full, "start_period: 5s", "start_period: 6s", 1))
	if a.Digest("env", "servers", "builder.args") == a.Digest("env") || a.Digest("env") != b.Digest("env") {
		t.Error("got digests that do not follow their parts")
	}
	if a.Digest("healthcheck") == b.Digest("healthcheck") || a.Digest() == b.Digest() {
		t.Error("got equal digests of different parts")
	}
	other, err := load(t, map[string]string{"kstep.yml": full}, LoadOptions{Env: func(string) (string, bool) { return "other", true }})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "digest with another secret value", other.Digest(), a.Digest())
	same(t, "digest of equal JSON", DigestOf(json.RawMessage(`{"b": 1.0,"a":2}`)), DigestOf(json.RawMessage(`{"a":2, "b":1.0}`)))
}

// TestDefaults_AreThoseThatTheTagsTell compares the values that the code fills
// in with the `default=` tags, which end up in the schema and the docs.
func TestDefaults_AreThoseThatTheTagsTell(t *testing.T) {
	var down func(path string, v reflect.Value)
	down = func(path string, v reflect.Value) {
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if !f.IsExported() {
				continue
			}
			key, option, _ := strings.Cut(f.Tag.Get("json"), ",")
			at := strings.TrimPrefix(path+"."+key, ".")
			if f.Anonymous {
				at = path
			}
			told, hasTag := "", false
			for o := range strings.SplitSeq(f.Tag.Get("jsonschema"), ",") {
				if text, ok := strings.CutPrefix(o, "default="); ok {
					told, hasTag = text, true
				}
			}
			if hasTag {
				data, err := json.Marshal(v.Field(i).Interface())
				if err != nil {
					t.Fatal(err)
				}
				same(t, "default of "+at, strings.Trim(string(data), `"`), told)
				if strings.HasPrefix(option, "omit") {
					t.Errorf("%s has a default and is omitted when zero: an explicit zero would be lost", at)
				}
				continue
			}
			_, union := reflect.TypeAssert[json.Marshaler](v.Field(i))
			if f.Type.Kind() == reflect.Struct && !union {
				down(at, v.Field(i))
			} else if !v.Field(i).IsZero() {
				t.Errorf("%s has the default %v, but no tag tells", at, v.Field(i))
			}
		}
	}
	down("", reflect.ValueOf(defaults()))
	role := reflect.TypeFor[Role]()
	for field, value := range map[string]any{"Start": defaultStart, "Replicas": defaultReplicas} {
		f, _ := role.FieldByName(field)
		if !strings.Contains(f.Tag.Get("jsonschema"), fmt.Sprint("default=", value)) {
			t.Errorf("the default of %s is not the one that its tag tells", f.Name)
		}
	}
}

// TestPaths_KnowEveryMapOfTextInTheTypes keeps the lists in paths.go complete:
// a map that they do not know would turn 1.10 into 1.1.
func TestPaths_KnowEveryMapOfTextInTheTypes(t *testing.T) {
	var down func(segs []string, typ reflect.Type)
	down = func(segs []string, typ reflect.Type) {
		switch {
		case typ == reflect.TypeFor[Env]():
			if !isEnv(segs) {
				t.Errorf("envPlaces lacks %s", strings.Join(segs, "."))
			}
		case typ == reflect.TypeFor[Servers]():
			down(append(segs, "*"), reflect.TypeFor[Role]())
		case typ == reflect.TypeFor[Accessories]():
			down(append(segs, "*"), reflect.TypeFor[Accessory]())
		case typ == reflect.TypeFor[map[string]string]():
			if !among(freePlaces, segs) {
				t.Errorf("freePlaces lacks %s", strings.Join(segs, "."))
			}
		case typ.Kind() == reflect.Map:
			down(append(segs, "*"), typ.Elem())
		case typ.Kind() == reflect.Pointer:
			down(segs, typ.Elem())
		case typ.Kind() == reflect.Struct:
			for f := range typ.Fields() {
				key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				if f.Anonymous {
					down(segs, f.Type)
				} else if key != "" && key != "-" {
					down(append(append([]string{}, segs...), key), f.Type)
				}
			}
		}
	}
	down(nil, reflect.TypeFor[Config]())
}

func TestWords_SplitsAsAShellDoes(t *testing.T) {
	for line, want := range map[string][]string{
		``:                        nil,
		`a b  c`:                  {"a", "b", "c"},
		`a 'b c' "d e"`:           {"a", "b c", "d e"},
		`a\ b`:                    {"a b"},
		`"a\"b\c\\"`:              {`a"b\c\`},
		`'a\b'`:                   {`a\b`},
		`'' ""`:                   {"", ""},
		`a'b'"c"`:                 {"abc"},
		"a \\\n b":                {"a", "b"},
		`sh -c 'echo $HOME "x"'`:  {"sh", "-c", `echo $HOME "x"`},
		"bin/worker\t--queue=all": {"bin/worker", "--queue=all"},
	} {
		got, err := Words(line)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Words(%q): got %q, %v, want %q", line, got, err, want)
		}
	}
	for _, line := range []string{`'a`, `"a`, `a\`} {
		if _, err := Words(line); err == nil {
			t.Errorf("Words(%q): got no error", line)
		}
	}
}

func TestDuration_ReadsWhatItWrites(t *testing.T) {
	for _, text := range []string{"0s", "300ms", "1.5s", "2m", "1h", "1h30m", "1m5s", "1µs", "999999h59m"} {
		var d Duration
		if err := json.Unmarshal([]byte(`"`+text+`"`), &d); err != nil || d.String() != text {
			t.Errorf("got %v, %v, want %s", d, err, text)
		}
	}
}

func TestVersion_OrdersReleases(t *testing.T) {
	ordered := []string{"v0.9", "1.0.0-rc.1", "1", "1.2", "1.2.1+build", "1.10"}
	for i := range ordered[1:] {
		a, ok := parseVersion(ordered[i])
		b, ok2 := parseVersion(ordered[i+1])
		if !ok || !ok2 || !a.before(b) || b.before(a) {
			t.Errorf("got %s not before %s", ordered[i], ordered[i+1])
		}
	}
	if _, ok := parseVersion("dev"); ok {
		t.Error("got a version from dev")
	}
}

func TestShow_LoadsFromARealFolderToo(t *testing.T) {
	cfg := mustLoad(t, base)
	same(t, "file name", filepath.Base(cfg.Path), "kstep.yml")
	same(t, "repository on Docker Hub", cfg.Repository(), "acme/shop")
}
