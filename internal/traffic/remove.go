package traffic

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/kstep/kstep/internal/host"
)

// RouteBytes returns the role's file in the folder that the proxy watches, or
// nothing if there is none.
func (r Role) RouteBytes(ctx context.Context) ([]byte, error) {
	data, err := r.Host.Files().Read(ctx, r.Names.RouteFile(r.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// RemoveRoute removes the role's route and returns when the proxy no longer
// has it, or ctx ended.
func (r Role) RemoveRoute(ctx context.Context) error {
	if err := r.Host.Files().Remove(ctx, host.Inside(r.Names.ProxyDir(), r.Names.RouteFile(r.Name))); err != nil {
		return fmt.Errorf("remove the route of role %s: %w", r.Name, err)
	}
	return r.confirmRoute(ctx, "drop", func(service string) bool { return service == "" })
}

// RestoreRoute writes a route that RemoveRoute removed, and returns when the
// proxy has it again, or ctx ended.
func (r Role) RestoreRoute(ctx context.Context, data []byte) error {
	if err := r.Host.Files().WriteVia(ctx, r.Names.ProxyDir(), r.Names.RouteFile(r.Name), data, 0o644); err != nil {
		return fmt.Errorf("restore the route of role %s: %w", r.Name, err)
	}
	return r.confirmRoute(ctx, "take", func(service string) bool { return service != "" })
}

func (r Role) confirmRoute(ctx context.Context, what string, done func(service string) bool) error {
	err := r.poll(ctx, func() (bool, error) {
		service, err := r.Word.Router(ctx, r.Names.Route(r.Name)+"@file")
		return err == nil && done(service), err
	})
	if err != nil {
		return fmt.Errorf("wait for the proxy to %s the route of role %s: %w", what, r.Name, err)
	}
	return nil
}
