package bootstrap

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// user is a host that one logs in to who is not root. With sudo they may do what
// root may.
type user struct {
	host.Host
	engine *hosttest.Engine
	sudo   bool
	asked  []string
}

func (u *user) Run(_ context.Context, argv []string, stdin []byte) ([]byte, error) {
	u.asked = append(u.asked, strings.Join(argv, " "))
	switch {
	case slices.Equal(argv, []string{"id", "-u"}):
		return []byte("1000\n"), nil
	case argv[0] != "sudo" || !u.sudo:
		return nil, &host.CommandError{Host: u.Name(), Program: argv[0], Status: 1, Stderr: "sudo: a password is required"}
	}
	u.asked = append(u.asked, string(stdin))
	u.engine.SetDown(false)
	return nil, nil
}

func newUser(t *testing.T, sudo bool) *user {
	t.Helper()
	fake := hosttest.NewFake(t, "vm1")
	fake.Engine.SetDown(true)
	return &user{Host: fake.Connect(t), engine: fake.Engine, sudo: sudo}
}

func TestEnsure_AUserWithSudoInstallsAndLogsInAgain(t *testing.T) {
	u := newUser(t, true)
	renewed := false
	_, did, err := Ensure(t.Context(), u, []byte("the script"), func() { renewed = true })
	if err != nil || did != "installed and started the engine" {
		t.Fatalf("got %q, %v, want it installed", did, err)
	}
	if want := []string{"id -u", "sudo -n sh -s", "the script"}; !slices.Equal(u.asked, want) {
		t.Errorf("asked for %q, want %q", u.asked, want)
	}
	if !renewed {
		t.Error("did not log in again: a new group counts for new logins only")
	}
	u.asked = nil
	if _, did, err := Ensure(t.Context(), u, []byte("the script"), nil); did != "" || err != nil || len(u.asked) > 0 {
		t.Errorf("again: got %q, %v, asked for %q, want nothing done", did, err, u.asked)
	}
}

func TestEnsure_TellsAUserWithoutSudoWhatToDo(t *testing.T) {
	_, _, err := Ensure(t.Context(), newUser(t, false), nil, nil)
	want := "install the engine on vm1: this needs root, or sudo without a password: sudo: a password is required"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if hints := strings.Join(exit.Hints(err), " "); !strings.Contains(hints, "ssh.user") {
		t.Errorf("got hints %q, want what to do", hints)
	}
}
