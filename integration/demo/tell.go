package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kstep/kstep/integration/rig"
)

func row(stage, time, hosts, requests, failed, slowest, answered string) {
	line := fmt.Sprintf("  %-13s %7s   %-12s %9s %7s %8s   %s", stage, time, hosts, requests, failed, slowest, answered)
	fmt.Println(strings.TrimRight(line, " "))
}

// hosts are those that a stage worked on, by its state file.
func (d *demo) hosts(stage string) ([]string, error) {
	data, err := os.ReadFile(d.app.Dir + "/kstep-state/" + stage + ".json")
	if err != nil {
		return nil, err
	}
	var file struct{ Targets []struct{ Host string } }
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", stage, err)
	}
	var hosts []string
	for _, t := range file.Targets {
		hosts = append(hosts, t.Host)
	}
	slices.Sort(hosts)
	return slices.Compact(hosts), nil
}

// verdict is what the app's users noticed.
func verdict(sum rig.Summary) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s requests in %s, %s failed, the slowest took %s",
		count(sum.Total), seconds(sum.Ended.Sub(sum.Started)), count(sum.Failed), ms(sum.Slowest))
	if slow := sum.Kinds["slow"]; slow > 0 {
		fmt.Fprintf(&b, "\n(%s of them ask the app to take 1.5 s, which is not counted: some were in flight when traffic moved)", count(slow))
	}
	for _, f := range sum.Failures {
		fmt.Fprintf(&b, "\n  failed: %s after %s: %s", f.URL, f.Took.Round(time.Millisecond), f.Reason)
	}
	return b.String() + "\n"
}

const farewell = `
Look at it:
  curl http://172.30.99.20      the load balancer; the hosts are http://172.30.99.11 and http://172.30.99.12
  docker exec -w /work/demo kstep-rig-deployer-1 kstep state show
  make demo-down                removes it all
`

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func ms(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }

// count writes a number with its thousands apart.
func count(n int) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
