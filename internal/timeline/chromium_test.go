package timeline

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/hook/hooktest"
)

// measure loads each page in frames of several widths, and writes down what a
// browser makes of it. The pages themselves have no script.
const measure = `<!doctype html><body><script>
const found = {};
let left = 0;
for (const name of NAMES) for (const width of [320, 1280]) {
  left++;
  const frame = document.createElement("iframe");
  frame.width = width; frame.height = 800; frame.style.border = 0; frame.src = "/page/" + name;
  frame.onload = () => {
    const page = frame.contentDocument, root = page.documentElement;
    for (const one of page.querySelectorAll("details")) one.open = true;
    const bars = [...page.querySelectorAll(".track .bar")].map(b => b.getBoundingClientRect());
    found[name + " " + width] = {
      width: frame.contentWindow.innerWidth, scroll: Math.max(root.scrollWidth, page.body.scrollWidth),
      bars: bars.length, unseen: bars.filter(b => b.width < 1 || b.height < 4 || b.right > width + 1 || b.left < 0).length,
      styled: getComputedStyle(page.querySelector(".row")).display, text: parseFloat(getComputedStyle(page.body).fontSize),
      wide: [...page.querySelectorAll("main *")].filter(e => e.getBoundingClientRect().right > width + 1).map(e => e.outerHTML.slice(0, 80)),
    };
    if (--left === 0) document.title = JSON.stringify(found);
  };
  document.body.append(frame);
}
</script>`

// measured is what the browser found out.
type measured struct {
	Width, Scroll, Bars, Unseen int
	Styled                      string
	Text                        float64
	Wide                        []string
}

func TestHTML_InABrowserFitsAPhoneAndShowsItsBars(t *testing.T) {
	t.Parallel()
	browser := hooktest.Installed(t, "chromium")
	all := recorded(t)
	all["hostile"] = hostile(t)
	var names []string
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	list, err := json.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if name, ok := strings.CutPrefix(r.URL.Path, "/page/"); ok {
			if err := HTML(w, all[name]); err != nil {
				t.Error(err)
			}
			return
		}
		fmt.Fprint(w, strings.Replace(measure, "NAMES", string(list), 1))
	}))
	defer server.Close()

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--user-data-dir="+t.TempDir(), "--virtual-time-budget=20000", "--dump-dom", server.URL)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	cmd.WaitDelay = 10 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	dom, err := cmd.Output()
	title := regexp.MustCompile(`(?s)<title>(.*?)</title>`).FindSubmatch(dom)
	if err != nil || title == nil {
		t.Fatalf("chromium: %v\n%s\n%s", err, dom, stderr.String())
	}
	found := map[string]measured{}
	if err := json.Unmarshal([]byte(html.UnescapeString(string(title[1]))), &found); err != nil || len(found) != 2*len(names) {
		t.Fatalf("%d pages were measured (%v)", len(found), err)
	}
	for page, m := range found {
		name, _, _ := strings.Cut(page, " ")
		bars := 0
		for _, s := range all[name].Stages {
			bars += 1 + len(s.Targets)
		}
		if m.Scroll > m.Width || len(m.Wide) > 0 {
			t.Errorf("%s px scrolls sideways: %d of %d px; %q", page, m.Scroll, m.Width, m.Wide)
		}
		if m.Bars != bars || m.Unseen > 0 {
			t.Errorf("%s px has %d bars, %d of them not to be seen; want %d", page, m.Bars, m.Unseen, bars)
		}
		if m.Styled != "grid" || m.Text < 14 {
			t.Errorf("%s px is not styled: the policy may have refused the style sheet", page)
		}
	}
}
