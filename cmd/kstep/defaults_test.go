package main

import (
	"reflect"
	"testing"
)

// kingpin sets no defaults on a command line with --version.
func TestFlags_HaveTheirDefaultsAlsoBesideVersion(t *testing.T) {
	t.Setenv("KSTEP_DESTINATION", "staging")
	t.Setenv("KSTEP_ROLES", "web\njob")
	read := func(args ...string) globals {
		t.Helper()
		p := &program{}
		app, _ := application(p)
		if _, err := app.Parse(args); err != nil {
			t.Fatal(err)
		}
		return p.global
	}
	want := read("push", "--hosts", "vm1")
	if want.config == "" || want.stateFrom == "" || want.destination != "staging" || len(want.roles) != 2 {
		t.Fatalf("without --version: %+v", want)
	}
	if got := read("push", "--hosts", "vm1", "--version", "v1"); !reflect.DeepEqual(got, want) {
		t.Errorf("with --version: %+v, want %+v", got, want)
	}
}
