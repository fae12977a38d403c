package stages

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/lease"
	"github.com/kstep/kstep/internal/linger"
)

// The jobs of one release that work on some of its hosts each share a lease. One that
// fails may park it only when no other is at work, or a newer release would take it from
// under them. So each leaves a file beside the lease while it works, and another one when
// it failed. A job that was killed leaves the first: then the lease has to expire.
const (
	atWork    = ".working"
	hasFailed = ".failed"
)

// shards is the folder of those files, of all releases.
func shards(store lease.Store) string { return path.Join(store.Dir, "shards") }

// shardFile is this shard's file below shards.
func (r *run) shardFile(store lease.Store, suffix string) host.Below {
	return host.Under(shards(store), r.Release, url.PathEscape(r.info.Name+" "+r.shard())+suffix)
}

// arrive notes that this shard is at work.
func (r *run) arrive(ctx context.Context, store lease.Store) error {
	if r.outside || r.whole() {
		return nil
	}
	if err := store.Files.Write(ctx, r.shardFile(store, atWork).String(), nil, 0o644); err != nil {
		return fmt.Errorf("note that this job is at work: %w", err)
	}
	return nil
}

// crew is what is known of the jobs of a release that share its lease.
type crew struct {
	others bool // Some are at work.
	failed bool // This one or an earlier one failed, and was not run again.
}

// depart ends what arrive began. Where it cannot, others may be at work.
func (r *run) depart(ctx context.Context, err error) crew {
	if r.outside || r.whole() {
		return crew{failed: err != nil}
	}
	ctx, cancel := linger.Context(ctx, releaseTime)
	defer cancel()
	store, lost := r.LeaseStore(ctx)
	if lost != nil {
		return crew{others: true}
	}
	if err != nil {
		lost = store.Files.Write(ctx, r.shardFile(store, hasFailed).String(), nil, 0o644)
	} else {
		lost = store.Files.Remove(ctx, r.shardFile(store, hasFailed)) // Of an earlier attempt.
	}
	lost = errors.Join(lost, store.Files.Remove(ctx, r.shardFile(store, atWork)))
	all, unlisted := store.Files.List(ctx, path.Join(shards(store), r.Release))
	if errors.Join(lost, unlisted) != nil {
		return crew{others: true}
	}
	var left crew
	for _, e := range all {
		left.others = left.others || strings.HasSuffix(e.Name, atWork)
		left.failed = left.failed || strings.HasSuffix(e.Name, hasFailed)
	}
	return left
}

// forgetShards removes what the jobs of older releases noted. It is no failure where it
// cannot: the next one tries again.
func (r *run) forgetShards(ctx context.Context, store lease.Store) {
	for _, dir := range []string{machines(store), shards(store)} {
		all, err := store.Files.List(ctx, dir)
		if err != nil {
			continue
		}
		for _, e := range all {
			if e.Name < r.Release {
				_ = store.Files.RemoveTree(ctx, host.Under(dir, e.Name)) // Tried again by the next.
			}
		}
	}
}
