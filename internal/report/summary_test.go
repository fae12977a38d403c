package report

import (
	"strings"
	"testing"
)

func TestSummary_ShowsWhatIsMarkdownInAMessageAsText(t *testing.T) {
	for text, want := range map[string]string{
		"![x](http://tracker.example/p.png)": `!\[x\](http&#58;//tracker.example/p.png)`,
		"# live":                             `\# live`,
		"see [the log](javascript:alert(1))": `see \[the log\](javascript:alert(1))`,
		"a | b\n`c` *d* \\":                  "a \\| b<br>\\`c\\` \\*d\\* \\\\",
		"<img src=x>":                        "&lt;img src=x&gt;",
		"~~gone~~ _em_ www.evil.example":     `\~\~gone\~\~ \_em\_ www&#46;evil.example`,
	} {
		got := summary(&tally{notices: []string{text}, ending: &Event{Message: text}})
		if strings.Count(got, want) != 2 {
			t.Errorf("%q: the summary does not have %q twice:\n%s", text, want, got)
		}
	}
}
