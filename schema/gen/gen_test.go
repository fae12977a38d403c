package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/schema"
)

// inRoot generates from the module's root and goes back afterwards.
func inRoot(t *testing.T) map[string][]byte {
	t.Helper()
	t.Chdir(".") // Restores the folder at the end of the test.
	files, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestGenerate_MakesWhatIsCheckedIn(t *testing.T) {
	for path, want := range inRoot(t) {
		got, err := os.ReadFile(path)
		if err != nil {
			t.Errorf("%v; run make generate", err)
			continue
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what its Go types say; run make generate and commit the result", path)
		}
	}
}

func TestConfigSchema_DescribesEveryKey(t *testing.T) {
	t.Chdir(".")
	if err := chdirRoot(); err != nil {
		t.Fatal(err)
	}
	s, err := configSchema()
	if err != nil {
		t.Fatal(err)
	}
	s.Definitions["(top level)"] = s
	for name, def := range s.Definitions {
		if def.Properties == nil {
			continue
		}
		for p := def.Properties.Oldest(); p != nil; p = p.Next() {
			if p.Value.Description == "" && p.Value.Not == nil {
				t.Errorf("%s.%s has no description; comment the field in internal/config", name, p.Key)
			}
		}
	}
}

// minimal is a file that every example can be added to.
func minimal() obj {
	return obj{"service": "shop", "image": "acme/shop", "servers": obj{"web": obj{"hosts": arr{"192.0.2.1"}}}}
}

func TestExamples_AllLoad(t *testing.T) {
	places := map[string][]string{
		"Role": {"servers", "job"}, "Task": {"tasks", "migrate"}, "Accessory": {"accessories", "db"}, "AssetRule": {"assets", "/app/public/assets"}, "Options": {"servers", "job", "options"}, "Registry": {"registry"}, "Healthcheck": {"healthcheck"}, "Stop": {"stop"},
		"Logging": {"logging"}, "Barrier": {"barrier"}, "Rolling": {"boot"}, "Cutover": {"cutover"}, "Proxy": {"proxy"},
		"Builder": {"builder"}, "Cache": {"builder", "cache"}, "Lease": {"lease"}, "SSH": {"ssh"},
		"SecretSources": {"secrets"}, "State": {"state"}, "Bootstrap": {"bootstrap"},
	}
	for path, all := range examples() {
		for _, example := range all {
			t.Run(path, func(t *testing.T) {
				doc := minimal()
				if !strings.HasPrefix(path, "env") {
					doc["env_tags"] = obj{"gpu": obj{}}
				}
				if path == "servers" || path == "Role.hosts" || path == "require_destination" {
					doc["env_tags"] = obj{"gpu": obj{}}
				}
				if strings.HasPrefix(strings.ToLower(path), "asset") && path != "asset_paths" && path != "asset_path" {
					doc["asset_path"] = "/app/public/assets"
				}
				in := doc
				def, key, ok := strings.Cut(path, ".")
				if !ok {
					def, key = "", path
				}
				for _, step := range places[def] {
					next, found := in[step].(obj)
					if !found {
						next = obj{}
						in[step] = next
					}
					in = next
				}
				switch def {
				case "Role":
					in["hosts"] = arr{"192.0.2.9"}
					if key == "start" {
						in["proxy"] = false
					}
				case "Options":
					doc["servers"].(obj)["job"].(obj)["hosts"] = arr{"192.0.2.9"}
				case "Task":
					in["cmd"] = "true"
				case "Accessory":
					in["image"] = "mysql:8.4"
					if key != "host" {
						in["role"] = "web"
					}
				case "Proxy":
					if key == "tls" {
						in["hosts"] = arr{"shop.example.com"}
					}
				case "Registry":
					in["username"], in["password"] = "u", arr{"P"}
				}
				in[key] = example
				// JSON is YAML, and examples are what a schema's reader sees.
				data, err := json.Marshal(doc)
				if err != nil {
					t.Fatal(err)
				}
				wantLoads(t, data, key == "require_destination")
			})
		}
	}
}

func wantLoads(t *testing.T, data []byte, destination bool) {
	t.Helper()
	dir := t.TempDir()
	o := config.LoadOptions{Path: filepath.Join(dir, "kstep.yml"), KstepVersion: "99.0.0"}
	files := map[string][]byte{"kstep.yml": data}
	if destination {
		o.Destination = "x"
		files["kstep.x.yml"] = []byte("{}")
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := config.Load(o); err != nil {
		t.Errorf("load example: %v\n%s", err, data)
	}
}

func TestDocs_HoldLoadableYAML(t *testing.T) {
	docs := string(inRoot(t)["docs/config.md"])
	n := 0
	for block := range strings.SplitSeq(docs, "```yaml\n") {
		text, _, ok := strings.Cut(block, "\n```")
		if !ok || strings.HasPrefix(text, "#") {
			continue
		}
		n++
		// Keys that the block itself does not bring.
		for key, line := range map[string]string{
			"service": "service: shop", "image": "image: acme/shop", "servers": "servers: [192.0.2.1]",
			"env": "env: {tags: {gpu: {}}}", "asset_paths": "asset_paths: [/app/public/assets]",
		} {
			if !strings.Contains("\n"+text, "\n"+key+":") && !(key == "env" && strings.Contains(text, "env_tags:")) {
				text += "\n" + line
			}
		}
		t.Run(strings.SplitN(text, "\n", 2)[0], func(t *testing.T) {
			// The reference shows a role with every key; not all go together.
			text = strings.Replace(text, "proxy: true\n", "proxy: false\n", 1)
			text = strings.Replace(text, "start: after-barrier", "start: with-boot", 1)
			if strings.Contains(text, "web:\n    options:") { // A section of a role's has no hosts.
				text = strings.Replace(text, "web:\n", "web:\n    hosts: [192.0.2.1]\n", 1)
			}
			wantLoads(t, []byte(text), strings.Contains(text, "require_destination"))
		})
	}
	if n < 10 {
		t.Errorf("got %d blocks of YAML, want one for each section", n)
	}
}

func TestStateSchema_AdmitsWhatGoWrites(t *testing.T) {
	for _, o := range outputs() {
		t.Run(o.stage, func(t *testing.T) {
			out, err := json.Marshal(reflect.Zero(reflect.TypeOf(o.value)).Interface())
			if err != nil {
				t.Fatal(err)
			}
			file := state.File{
				APIVersion: state.APIVersion, Kind: "StageState", Release: "01J", Service: "shop", Version: "v1", Stage: o.stage,
				Status: state.Failed, Outputs: out, Targets: []state.Target{{Host: "h", Role: "web", Status: state.OK}},
			}
			data, err := json.Marshal(file)
			if err != nil {
				t.Fatal(err)
			}
			doc, err := schema.Decode(data)
			if err != nil {
				t.Fatal(err)
			}
			if problems := schema.ValidateState(doc); len(problems) > 0 {
				t.Errorf("got %v for %s", problems, data)
			}
		})
	}
}
