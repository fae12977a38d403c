package config

import (
	"testing"
)

func TestNetworks_AreThoseOfTheTopLevelAndOfTheRole(t *testing.T) {
	t.Parallel()
	cfg := mustLoad(t, "service: shop\nimage: acme/shop\nnetworks: [backend]\nservers:\n  web: {hosts: [a], networks: [metrics, backend]}\n  job: [a]\n"+
		"accessories:\n  db: {image: \"postgres:17\", role: web, networks: [shared]}\n")
	web, _ := cfg.Role("web")
	job, _ := cfg.Role("job")
	same(t, "networks of web", cfg.EffectiveNetworks(web), []string{"backend", "metrics"})
	same(t, "networks of job", cfg.EffectiveNetworks(job), []string{"backend"})
	same(t, "networks of db", cfg.Accessories.All[0].Networks, []string{"shared"})
}
