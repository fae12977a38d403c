package hosttest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// pingService is Traefik's own: it answers 200.
const pingService = "ping@internal"

// dynamic is what Traefik knows, with `@provider` at every name.
type dynamic struct {
	routers  map[string]*tRouter
	services map[string]*tService
}

type tRouter struct {
	Rule        string   `yaml:"rule" json:"rule"`
	Service     string   `yaml:"service" json:"service"`
	EntryPoints []string `yaml:"entryPoints" json:"entryPoints"`
	Priority    int      `yaml:"priority" json:"priority"`
	Name        string   `yaml:"-" json:"name"`
	Provider    string   `yaml:"-" json:"provider"`
	Status      string   `yaml:"-" json:"status"`
}

type tService struct {
	LoadBalancer struct {
		Servers []struct {
			URL string `yaml:"url" json:"url"`
		} `yaml:"servers" json:"servers"`
	} `yaml:"loadBalancer" json:"loadBalancer"`
	ServerStatus map[string]string `yaml:"-" json:"serverStatus"`
	Name         string            `yaml:"-" json:"name"`
	Provider     string            `yaml:"-" json:"provider"`
	Status       string            `yaml:"-" json:"status"`
}

func (t *traefik) read() dynamic {
	d := dynamic{routers: map[string]*tRouter{}, services: map[string]*tService{}}
	if t.option("ping") == "true" {
		d.services[pingService] = &tService{}
	}
	if dir := t.option("providers.file.directory"); dir != "" && time.Since(t.started) > loadTime {
		t.readFiles(d, t.c.hostPath(dir))
	}
	if t.option("providers.docker") == "true" {
		t.readLabels(d)
	}
	for name, r := range d.routers {
		r.Name, r.Status = name, "enabled"
		_, r.Provider, _ = strings.Cut(name, "@")
		if _, ok := d.services[qualified(r.Service, r.Provider)]; !ok {
			r.Status = "disabled"
		}
		if r.Priority == 0 {
			r.Priority = len(r.Rule)
		}
	}
	for name, s := range d.services {
		s.Name, s.Status, s.ServerStatus = name, "enabled", map[string]string{}
		_, s.Provider, _ = strings.Cut(name, "@")
		for _, server := range s.LoadBalancer.Servers {
			s.ServerStatus[server.URL] = "UP"
		}
	}
	return d
}

func qualified(name, provider string) string {
	if strings.Contains(name, "@") {
		return name
	}
	return name + "@" + provider
}

func (t *traefik) readFiles(d dynamic, dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !slices.Contains([]string{".yml", ".yaml", ".json"}, filepath.Ext(e.Name())) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			continue
		}
		file := t.parsed(e.Name(), data)
		for name, r := range file.HTTP.Routers {
			d.routers[name+"@file"] = &r
		}
		for name, s := range file.HTTP.Services {
			d.services[name+"@file"] = &s
		}
	}
}

// dynamicFile is what a file says; nothing, if it can't be read.
type dynamicFile struct {
	text string
	HTTP struct {
		Routers  map[string]tRouter  `yaml:"routers"`
		Services map[string]tService `yaml:"services"`
	} `yaml:"http"`
}

// parsed is the content of a file. Every request asks, and files rarely change.
func (t *traefik) parsed(name string, data []byte) *dynamicFile {
	if known, ok := t.files.Load(name); ok && known.(*dynamicFile).text == string(data) {
		return known.(*dynamicFile)
	}
	file := &dynamicFile{}
	if yaml.Unmarshal(data, file) != nil {
		file = &dynamicFile{}
	}
	file.text = string(data)
	t.files.Store(name, file)
	return file
}

// readLabels follows the containers that run and are not sick.
func (t *traefik) readLabels(d dynamic) {
	e := t.c.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.containers {
		if c.state != "running" || c.health == "starting" || c.health == "unhealthy" || c.Config.Labels["traefik.enable"] != "true" {
			continue
		}
		for _, label := range sortedKeys(c.Config.Labels) {
			value := c.Config.Labels[label]
			if m := serverPort.FindStringSubmatch(label); m != nil {
				name := m[1] + "@docker"
				if d.services[name] == nil {
					d.services[name] = &tService{}
				}
				lb := &d.services[name].LoadBalancer
				lb.Servers = append(lb.Servers, struct {
					URL string `yaml:"url" json:"url"`
				}{fmt.Sprintf("http://%s:%s", c.address, value)})
			}
			if m := routerLabel.FindStringSubmatch(label); m != nil {
				name := m[1] + "@docker"
				if d.routers[name] == nil {
					d.routers[name] = &tRouter{Service: m[1]}
				}
				if m[2] == "rule" {
					d.routers[name].Rule = value
				} else {
					d.routers[name].Service = value
				}
			}
		}
	}
}
