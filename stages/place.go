package stages

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/proxy"
)

// place is where the service is kept on a host.
type place struct {
	plan.Names

	unroutable error // Why no route of this run directory reaches the proxy.
	unusable   error // Why the SSH user cannot change what is there.
}

// ElsewhereError is a service that has its containers on a host, but its state
// in another run directory than the configuration's.
type ElsewhereError struct {
	Host, Service string
	Run           string // The other run directory; empty if it is not known.
	Own           string // The configuration's run directory there.
	User          string // The SSH user.
}

func (e *ElsewhereError) Error() string {
	if e.Run == "" {
		return fmt.Sprintf("%s runs on %s, but %s has no state of it: another SSH user or another run_directory deployed it",
			e.Service, e.Host, path.Join(e.Own, e.Service))
	}
	return fmt.Sprintf("%s on %s has its state in %s%s, not in %s", e.Service, e.Host, path.Join(e.Run, e.Service), ownerOf(e.Run), path.Join(e.Own, e.Service))
}

// hints are the ways out: to keep the folder, or to move it.
func (e *ElsewhereError) hints() []string {
	if e.Run == "" {
		return []string{"set ssh.user and run_directory as they were when it was deployed; the other hosts' messages may name them"}
	}
	keep := "to keep it there: set run_directory: " + e.Run
	if old := userOf(e.Run); old != "" && old != userOf(e.Own) {
		keep = fmt.Sprintf("to keep it there: set ssh.user: %s (and run_directory as it was)", old)
	}
	return []string{keep, fmt.Sprintf("to move it, with all services that are kept there, run on %s as root: %s", e.Host, Moving(e.Run, e.Own, e.User))}
}

// Moving is the shell command that moves a run directory while its services go
// on: the old path stays as a link, for the containers that were made with it. It
// moves nothing to another file system, where running containers would lose
// their files.
func Moving(from, to, user string) string {
	own := ""
	if home := userOf(to); home != "" {
		user = home
	}
	if user != "" && user != orRoot(userOf(from)) {
		own = fmt.Sprintf(" && find %[2]s ! -path '*/@accessories/*/directories/*' -user %[3]s -exec chown -h %[1]s: {} +", user, to, orRoot(userOf(from)))
	}
	return fmt.Sprintf(`mkdir -p %[2]s && test "$(stat -c %%d %[1]s)" = "$(stat -c %%d %[2]s)" && mv -T %[1]s %[3]s && ln -s %[3]s %[1]s%[4]s`,
		from, path.Dir(to), to, own)
}

func orRoot(user string) string {
	if user == "" {
		return "root"
	}
	return user
}

// userOf is the user in whose home a folder is, as far as the path says so.
func userOf(folder string) string {
	if folder == "/root" || strings.HasPrefix(folder, "/root/") {
		return "root"
	}
	if rest, ok := strings.CutPrefix(folder, "/home/"); ok {
		user, _, _ := strings.Cut(rest, "/")
		return user
	}
	return ""
}

// ownerOf is userOf for messages.
func ownerOf(folder string) string {
	if user := userOf(folder); user != "" {
		return " (of the SSH user " + user + ")"
	}
	return ""
}

// observePlace looks where the service is kept on a host, by its containers and
// the proxy, and refuses a service that is kept in another run directory.
func (in Input) observePlace(ctx context.Context, h host.Host, names plan.Names) (place, error) {
	at := place{Names: names}
	var own []engine.Container
	var front engine.Container
	var ownErr, frontErr, permissionErr, ownerErr error
	var wg sync.WaitGroup
	wg.Go(func() { ownerErr = trusted(ctx, h, names) })
	wg.Go(func() {
		own, ownErr = h.Engine().Containers(ctx, engine.Filter{Labels: RoleLabels(in.Config, ""), Labeled: []string{engine.LabelRole}, All: true})
	})
	if slices.Contains(routedHosts(plan.Targets(in.Config)), h.Name()) {
		wg.Go(func() { front, frontErr = h.Engine().Inspect(ctx, plan.ProxyContainer) })
	}
	if path.IsAbs(in.Config.RunDirectory) { // Others may have written there.
		wg.Go(func() { at.unusable, permissionErr = usable(ctx, h, names) })
	}
	wg.Wait()
	if errors.Is(frontErr, engine.ErrNotFound) {
		frontErr = nil
	}
	if err := errors.Join(ownErr, frontErr, permissionErr, ownerErr); err != nil {
		return at, err
	}
	if err := in.placed(ctx, h, names, own, front); err != nil {
		return at, err
	}
	var err error
	at.unroutable, err = watched(ctx, h, names, front)
	return at, err
}

// placed refuses a service whose containers show that its state is in another
// run directory, unless the ledger here knows them: then the directory was
// moved.
func (in Input) placed(ctx context.Context, h host.Host, names plan.Names, own []engine.Container, front engine.Container) error {
	elsewhere, unknown := sortOut(own, names)
	if len(elsewhere) == 0 && len(unknown) == 0 {
		return nil
	}
	refused := &ElsewhereError{Host: h.Name(), Service: names.Base(), Own: names.Run, User: in.Config.SSH.User}
	book, err := ledger.Read(ctx, h.Files(), names.Ledger())
	if err != nil {
		return err
	}
	if len(elsewhere) > 0 {
		newest := slices.MaxFunc(elsewhere, func(a, b engine.Container) int { return a.Created.Compare(b.Created) })
		refused.Run = names.RunOf(newest)
		if !slices.ContainsFunc(elsewhere, func(c engine.Container) bool { return book.Knows(c.Labels[engine.LabelRelease]) }) {
			return refuse(refused)
		}
		for _, c := range elsewhere { // Their paths are links now.
			h.Engine().Moved(names.RunOf(c), names.Run)
		}
		return nil
	}
	if book.Service != "" || len(book.Releases) > 0 {
		return nil
	}
	switch folder := proxy.Watched(front); folder {
	case names.RouteDir():
		return nil // The ledger was moved away, as a record may be.
	case "":
	default:
		refused.Run = path.Dir(path.Dir(folder))
	}
	return refuse(refused)
}

func refuse(e *ElsewhereError) error { return exit.With(exit.Config, e, e.hints()...) }

// sortOut finds the containers that were made from another run directory, and
// those that do not show from which, where none shows that it was this one.
func sortOut(own []engine.Container, names plan.Names) (elsewhere, unknown []engine.Container) {
	here := false
	for _, c := range own {
		switch names.RunOf(c) {
		case names.Run:
			here = true
		case "":
			unknown = append(unknown, c)
		default:
			elsewhere = append(elsewhere, c)
		}
	}
	if here {
		unknown = nil
	}
	return elsewhere, unknown
}

// UnroutableError is a proxy that watches another folder than the one that the
// configuration's run directory has for routes.
type UnroutableError struct {
	Host, Folder, Own string
	// Others are the services there that are not the configuration's.
	Others []string
}

func (e *UnroutableError) Error() string {
	text := fmt.Sprintf("the proxy on %s watches %s, not %s", e.Host, e.Folder, e.Own)
	if len(e.Others) > 0 {
		text += "; it has the routes of " + strings.Join(e.Others, ", ")
	}
	return text
}

func (e *UnroutableError) hints() []string {
	from, to := path.Dir(path.Dir(e.Folder)), path.Dir(path.Dir(e.Own))
	same := fmt.Sprintf("all services of a host share one run directory: set run_directory: %s, with an SSH user who may write there%s", from, ownerOf(from))
	if len(e.Others) == 0 {
		return []string{same, "or, as no other service is on that host: kstep proxy reboot"}
	}
	return []string{same, fmt.Sprintf("or move theirs, on %s as root: %s", e.Host, Moving(from, to, ""))}
}

// watched is why a route that is written here does not reach the host's proxy:
// it watches another folder. It is nil where there is no proxy.
func watched(ctx context.Context, h host.Host, names plan.Names, front engine.Container) (reason, err error) {
	folder := proxy.Watched(front)
	if folder == "" || folder == names.RouteDir() || proxy.Moved(ctx, h, front, names.RouteDir()) {
		return nil, nil
	}
	others, err := proxy.Others(ctx, h, names)
	if err != nil {
		return nil, err
	}
	e := &UnroutableError{Host: h.Name(), Folder: folder, Own: names.RouteDir(), Others: others}
	return exit.With(exit.Config, e, e.hints()...), nil
}

// Routable is why a route of this service cannot reach the host's proxy, nil if
// it can.
func (w *Work) Routable(ctx context.Context, front engine.Container) error {
	if w.unroutable != nil {
		return w.unroutable
	}
	reason, err := watched(ctx, w.Host, w.Names, front)
	return errors.Join(err, reason)
}

// DropsRoutes is why a new proxy must not be made here: it would not know the
// routes of other services, which the running one has.
func (w *Work) DropsRoutes() error {
	if e, ok := errors.AsType[*UnroutableError](w.unroutable); ok && len(e.Others) > 0 {
		return w.unroutable
	}
	return nil
}

// settled is Guarded's: in a ledger without an owner nothing was ever deployed
// here, or it is another run directory's service.
func (w *Work) settled(ctx context.Context, book ledger.Ledger) error {
	if book.Service != "" || w.in.survey != nil {
		return nil
	}
	_, err := w.in.observePlace(ctx, w.Host, w.Names)
	return err
}
