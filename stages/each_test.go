package stages

import (
	"errors"
	"testing"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/plan"
)

func TestLocated_SaysWhereOnlyIfTheErrorDoesNot(t *testing.T) {
	web := plan.Target{Host: "vm1", Role: config.Role{Name: "web"}}
	for text, c := range map[string]struct {
		target plan.Target
		want   string
	}{
		"not ready":                         {web, "web@vm1: not ready"},
		"create container x on vm1: taken":  {web, "web: create container x on vm1: taken"},
		"create container x on vm12: taken": {web, "web@vm1: create container x on vm12: taken"},
		"connect to vm1: refused":           {plan.Target{Host: "vm1"}, "connect to vm1: refused"},
		"no space left":                     {plan.Target{Host: "vm1"}, "vm1: no space left"},
	} {
		if got := located(c.target, errors.New(text)).Error(); got != c.want {
			t.Errorf("%s: got %q, want %q", text, got, c.want)
		}
	}
}
