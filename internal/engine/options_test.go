package engine

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/runopt"
)

// TestCreateRequest_CarriesEveryOption sets each option alone, and expects that
// the request to the engine changes.
func TestCreateRequest_CarriesEveryOption(t *testing.T) {
	samples := map[string]string{
		"add-host": `["db:192.0.2.5"]`, "device": `["/dev/fuse"]`, "dns": `["192.0.2.53"]`, "expose": `["9090"]`,
		"gpus": `"all"`, "publish": `["127.0.0.1:8080:80/udp"]`, "restart": `"on-failure:3"`, "tmpfs": `["/run:size=1m"]`,
		"ulimit": `["nofile=1024:2048"]`, "memory": `"512m"`, "memory-swap": `-1`, "shm-size": `"1.5g"`,
		"blkio-weight-device": `["/dev/sda:200"]`, "device-read-bps": `["/dev/sda:10mb"]`, "device-write-bps": `["/dev/sda:10mb"]`,
		"device-read-iops": `["/dev/sda:1000"]`, "device-write-iops": `["/dev/sda:1000"]`, "cgroupns": `"private"`,
		"ip": `"172.30.0.10"`, "ip6": `"2001:db8::10"`, "link-local-ip": `["169.254.10.1"]`, "mac-address": `"02:42:ac:1e:00:0a"`,
	}
	request := func(o runopt.Options) string {
		r := createRequest(Spec{Name: "x", Image: "y", Network: "kstep", Restart: "unless-stopped", Options: o}, version{1, 41})
		data, err := json.Marshal([]any{r.Config, r.HostConfig, r.NetworkingConfig})
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	none := request(runopt.Options{})
	for field := range reflect.TypeFor[runopt.Options]().Fields() {
		key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		value, ok := samples[key]
		if !ok {
			value = map[reflect.Kind]string{
				reflect.Slice: `["sample"]`, reflect.String: `"sample"`, reflect.Bool: "true", reflect.Map: `{"a":"b"}`,
			}[field.Type.Kind()]
		}
		if field.Type.Kind() == reflect.Pointer && field.Type.Elem().Kind() == reflect.Bool {
			value = "true"
		}
		if value == "" {
			value = "20"
		}
		var o runopt.Options
		if err := json.Unmarshal([]byte(`{"`+key+`":`+value+`}`), &o); err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		if problems := o.Check(); len(problems) > 0 {
			t.Errorf("%s: %v", key, problems)
		}
		if request(o) == none {
			t.Errorf("the engine is not asked for %s: %s", key, value)
		}
	}
}

func TestCreateRequest_TranslatesOptionsAsDockerRunDoes(t *testing.T) {
	var o runopt.Options
	text := `{"memory":"512m","cpus":1.5,"publish":["127.0.0.1:8080:80/udp"],"restart":"on-failure:3","device":["/dev/fuse"],
		"ulimit":["nofile=1024:2048"],"tmpfs":["/run:size=1m"],"gpus":"device=0,1","network-alias":["cache"],
		"device-read-bps":"/dev/sda:10mb","device-write-iops":["/dev/sda:1000"],"blkio-weight-device":"/dev/sda:200",
		"ip":"172.30.0.10","mac-address":"02:42:ac:1e:00:0a","cgroupns":"host"}`
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	r := createRequest(Spec{Network: "kstep", Restart: "unless-stopped", Options: o}, version{1, 41})
	data, err := json.Marshal([]any{r.HostConfig, r.NetworkingConfig})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"Memory":536870912`, `"NanoCpus":1500000000`, `"PortBindings":{"80/udp":[{"HostIp":"127.0.0.1","HostPort":"8080"}]}`,
		`"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3}`, `"Ulimits":[{"Name":"nofile","Hard":2048,"Soft":1024}]`,
		`"Tmpfs":{"/run":"size=1m"}`, `"DeviceIDs":["0","1"]`, `"Aliases":["cache"]`,
		`"BlkioDeviceReadBps":[{"Path":"/dev/sda","Rate":10485760}]`, `"BlkioDeviceWriteIOps":[{"Path":"/dev/sda","Rate":1000}]`,
		`"BlkioWeightDevice":[{"Path":"/dev/sda","Weight":200}]`, `"IPAMConfig":{"IPv4Address":"172.30.0.10"}`,
		`"MacAddress":"02:42:ac:1e:00:0a"`, `"CgroupnsMode":"host"`,
	} {
		if !strings.Contains(string(data), want) {
			t.Errorf("got no %s in %s", want, data)
		}
	}
}

// TestTooOld_NamesTheOptionThatAnEngineWouldIgnore: an old engine takes the
// request, and makes a container without the option.
func TestTooOld_NamesTheOptionThatAnEngineWouldIgnore(t *testing.T) {
	for key, tt := range map[string]struct {
		o     runopt.Options
		since version
	}{
		"cgroupns":    {runopt.Options{Cgroupns: "private"}, version{1, 41}},
		"annotation":  {runopt.Options{Annotation: map[string]string{"a": "b"}}, version{1, 43}},
		"mac-address": {runopt.Options{MacAddress: "02:42:ac:1e:00:0a"}, version{1, 44}},
	} {
		if err := tooOld(tt.o, tt.since); err != nil {
			t.Errorf("%s on %s: got %v, want no error", key, tt.since, err)
		}
		if err := tooOld(tt.o, version{1, 40}); err == nil || !strings.HasPrefix(err.Error(), "options."+key+": ") {
			t.Errorf("%s on an older engine: got %v, want an error that names it", key, err)
		}
	}
	if err := tooOld(runopt.Options{Memory: 1}, version{1, 40}); err != nil {
		t.Errorf("got %v for an option that every engine knows", err)
	}
}
