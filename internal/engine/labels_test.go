package engine

import (
	"maps"
	"testing"
)

func TestGenuine_LabelsThatAnImageBringsAreNotObserved(t *testing.T) {
	t.Parallel()
	app := map[string]string{LabelService: "shop", LabelRole: "web", LabelDestination: "", LabelVersion: "v1", LabelRelease: "r", LabelSpec: "sha256:1"}
	accessory := map[string]string{LabelAccessory: "db", LabelAccessoryService: "shop", LabelAccessoryDestination: "", LabelSpec: "sha256:2", "mine": "x"}
	with := func(labels map[string]string, more ...string) map[string]string {
		labels = maps.Clone(labels)
		for i := 0; i < len(more); i += 2 {
			labels[more[i]] = more[i+1]
		}
		return labels
	}
	without := func(labels map[string]string, name string) map[string]string {
		labels = maps.Clone(labels)
		delete(labels, name)
		return labels
	}
	for title, c := range map[string]struct {
		name         string
		labels, want map[string]string
	}{
		"application":                            {"shop-web-v1", app, app},
		"application, all labels":                {"shop-web-v1", labelled(app), with(app, enabled, "false")},
		"application without a spec":             {"shop-web-v1", without(app, LabelSpec), without(app, LabelSpec)},
		"application, renamed":                   {"mine", app, map[string]string{}},
		"application, replaced":                  {"shop-web-v1_replaced_0123456789ab", app, app},
		"foreign container with a spec":          {"payroll", with(app, "mine", "x"), map[string]string{"mine": "x"}},
		"another's name with a spec":             {"shopper-web-v1", app, map[string]string{}},
		"foreign task with a spec":               {"miner", with(app, LabelTask, "migrate", LabelRole, ""), map[string]string{}},
		"accessory":                              {"shop-db", accessory, accessory},
		"accessory, all labels":                  {"db", labelled(accessory), with(accessory, enabled, "false")},
		"accessory whose image claims a role":    {"shop-db", with(accessory, LabelService, "shop", LabelRole, "web", LabelDestination, ""), accessory},
		"accessory whose image claims a task":    {"db", with(accessory, LabelService, "shop", LabelTask, "migrate", LabelRelease, "r"), accessory},
		"application whose image claims a db":    {"shop-web-v1", with(app, LabelAccessory, "db", LabelAccessoryService, "shop", LabelAccessoryDestination, ""), app},
		"application whose image claims a proxy": {"shop-web-v1", labelled(app), with(app, enabled, "false")},
		"foreign container":                      {"payroll", with(without(app, LabelSpec), "mine", "x"), map[string]string{"mine": "x"}},
		"foreign container, another's name":      {"shopper-web", without(app, LabelSpec), map[string]string{}},
		"foreign container that claims a db":     {"x", with(without(accessory, LabelSpec)), map[string]string{"mine": "x"}},
		"task":                                   {"shop-task-a-v1", map[string]string{LabelService: "shop", LabelTask: "a", LabelDestination: "x"}, map[string]string{LabelService: "shop", LabelTask: "a", LabelDestination: "x"}},
		"proxy":                                  {"kstep-proxy", map[string]string{LabelProxy: "traefik", LabelSpec: "s", LabelService: ""}, map[string]string{LabelProxy: "traefik", LabelSpec: "s"}},
		"no labels":                              {"x", nil, nil},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			if got := genuine(c.name, maps.Clone(c.labels)); !maps.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestFilter_SelectsByGenuineLabelsOnly(t *testing.T) {
	t.Parallel()
	all := []Container{
		{ID: "a", Labels: map[string]string{LabelService: "shop", LabelRole: "web"}},
		{ID: "b", Labels: map[string]string{LabelService: "shop"}},
		{ID: "c", Labels: map[string]string{}},
	}
	for want, f := range map[string]Filter{
		"[a]":     {Labels: map[string]string{LabelService: "shop"}, Labeled: []string{LabelRole}},
		"[a b]":   {Labels: map[string]string{LabelService: "shop"}},
		"[a b c]": {},
	} {
		ids := "["
		for i, c := range f.matches(all) {
			if i > 0 {
				ids += " "
			}
			ids += c.ID
		}
		if ids+"]" != want {
			t.Errorf("got %s], want %s", ids, want)
		}
	}
}
