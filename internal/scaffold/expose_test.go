package scaffold

import "testing"

func TestReadDockerfile_FindsThePort(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		port int
	}{
		"plain":                 {"FROM a\nEXPOSE 8080", 8080},
		"protocol":              {"FROM a\nexpose 8080/TCP", 8080},
		"UDP only":              {"FROM a\nEXPOSE 53/udp", 0},
		"UDP first":             {"FROM a\nEXPOSE 53/udp 8080", 8080},
		"several":               {"FROM a\nEXPOSE 443 80\nEXPOSE 9000", 80},
		"range":                 {"FROM a\nEXPOSE 8000-8010/tcp", 8000},
		"last stage":            {"FROM a AS build\nEXPOSE 1000\nFROM b\nEXPOSE 2000", 2000},
		"other stage's":         {"FROM a AS build\nEXPOSE 1000\nFROM b", 0},
		"inherited":             {"FROM a AS Base\nENV P=1000\nEXPOSE $P\nFROM c AS build\nEXPOSE 3000\nFROM --platform=linux/amd64 base", 1000},
		"ENV":                   {"FROM a\nENV HOST=0.0.0.0 PORT=\"4000\"\nEXPOSE ${PORT}", 4000},
		"ENV, old form":         {"FROM a\nENV PORT 4000\nEXPOSE $PORT", 4000},
		"ARG":                   {"FROM a\nARG PORT=5000\nEXPOSE $PORT/tcp", 5000},
		"ARG without a value":   {"FROM a\nARG PORT\nEXPOSE $PORT", 0},
		"ARG before FROM":       {"ARG PORT=5000\nFROM a\nARG PORT\nEXPOSE $PORT", 5000},
		"ARG of another stage":  {"ARG PORT=5000\nFROM a\nEXPOSE $PORT", 0},
		"default":               {"FROM a\nEXPOSE ${PORT:-6000}", 6000},
		"one of two resolves":   {"FROM a\nEXPOSE $X 7000", 7000},
		"continued":             {"FROM a\nEXPOSE \\\n  # why\n  8080", 8080},
		"comment":               {"FROM a\n# EXPOSE 1\nEXPOSE 8080 ", 8080},
		"here-document":         {"FROM a\nRUN <<EOF\nEXPOSE 1000\nEOF\nEXPOSE 8080", 8080},
		"Windows line ends":     {"FROM a\r\nEXPOSE 8080\r\n", 8080},
		"quotes":                {"FROM a\nEXPOSE \"8080\"", 8080},
		"no EXPOSE, but PORT":   {"FROM a\nENV PORT=3001", 3001},
		"nothing":               {"FROM a", 0},
		"no Dockerfile at all":  {"", 0},
		"out of range":          {"FROM a\nEXPOSE 70000 0 8080", 8080},
		"tab":                   {"FROM a\nEXPOSE\t8080", 8080},
		"only HTTPS is exposed": {"FROM a\nEXPOSE 443", 0},
	} {
		t.Run(name, func(t *testing.T) {
			i := readDockerfile(tt.text)
			if port, _ := i.port(); port != tt.port {
				t.Errorf("got %d, want %d, from\n%s", port, tt.port, tt.text)
			}
		})
	}
}
