package engine

import (
	"context"
	"fmt"
	"slices"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// EnsureNetwork makes a bridge network unless it is there. Engines allow two
// networks of one name, and two creators at once can each see none. So it looks
// again, and removes all but the oldest: no creator removes that one, and the
// last to look sees all the others.
func (c *Client) EnsureNetwork(ctx context.Context, name string, labels map[string]string) (created bool, err error) {
	have, err := c.Networks(ctx, name)
	if err != nil || len(have) > 0 {
		return false, err
	}
	made, err := c.api.NetworkCreate(ctx, name, client.NetworkCreateOptions{Driver: "bridge", Labels: labels})
	if err != nil && !cerrdefs.IsConflict(err) && !lost(ctx, err) {
		return false, c.fail("create network "+name, err)
	}
	asked := err
	if have, err = c.Networks(ctx, name); err != nil {
		return false, err
	}
	if len(have) == 0 {
		return false, c.fail("create network "+name, asked)
	}
	for _, n := range have[1:] {
		_, err := c.api.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{})
		if err != nil && !cerrdefs.IsNotFound(err) && !cerrdefs.IsPermissionDenied(err) && !cerrdefs.IsConflict(err) {
			return false, c.fail("remove the second network "+name, err)
		} // One in use stays: its containers are connected to it by id.
	}
	return have[0].ID == made.ID, nil
}

// Networks lists the networks of exactly this name, oldest first.
func (c *Client) Networks(ctx context.Context, name string) ([]Network, error) {
	if _, err := c.ready(ctx); err != nil {
		return nil, err
	}
	answer, err := c.api.NetworkList(ctx, client.NetworkListOptions{Filters: client.Filters{}.Add("name", name)})
	if err != nil {
		return nil, c.fail("list networks", err)
	}
	var list []Network
	for _, n := range answer.Items {
		if n.Name == name { // The filter takes parts of names, too.
			list = append(list, Network{ID: n.ID, Name: n.Name, Labels: n.Labels, Created: n.Created})
		}
	}
	slices.SortFunc(list, func(a, b Network) int {
		if order := a.Created.Compare(b.Created); order != 0 {
			return order
		}
		return slices.Compare([]byte(a.ID), []byte(b.ID))
	})
	return list, nil
}

// Connect connects a container, which need not run, to a network. One that is in it
// keeps its aliases there. ErrNetworkMissing if the network is missing.
func (c *Client) Connect(ctx context.Context, container, name string, aliases []string) error {
	if _, err := c.ready(ctx); err != nil {
		return err
	}
	request := func() error {
		_, err := c.api.NetworkConnect(ctx, name, client.NetworkConnectOptions{
			Container: container, EndpointConfig: &network.EndpointSettings{Aliases: aliases},
		})
		return err
	}
	err := c.untilDone(ctx, container, name, true, request)
	if err == nil {
		return nil
	}
	if cerrdefs.IsNotFound(err) {
		if have, look := c.Networks(ctx, name); look == nil && len(have) == 0 {
			return fmt.Errorf("connect container %s on %s: %w", container, c.host, &answer{ErrNetworkMissing, "network " + name + " not found"})
		}
	}
	return c.refusal(fmt.Sprintf("connect container %s to network %s", container, name), err)
}

// Disconnect takes a container out of a network. One that is not in it, or not
// there, is fine.
func (c *Client) Disconnect(ctx context.Context, container, name string) error {
	if _, err := c.ready(ctx); err != nil {
		return err
	}
	err := c.untilDone(ctx, container, name, false, func() error {
		_, err := c.api.NetworkDisconnect(ctx, name, client.NetworkDisconnectOptions{Container: container})
		return err
	})
	if err == nil || cerrdefs.IsNotFound(err) {
		return nil
	}
	return c.refusal(fmt.Sprintf("disconnect container %s from network %s", container, name), err)
}

// refusal is fail for networks: an engine forbids what their state does not allow,
// which has nothing to do with logins.
func (c *Client) refusal(what string, err error) error {
	if cerrdefs.IsPermissionDenied(err) {
		return fmt.Errorf("%s on %s: %w", longID.ReplaceAllString(what, " $1"), c.host, &answer{ErrConflict, message(err)})
	}
	return c.fail(what, err)
}

// untilDone makes a request, and once more if its answer was lost and it had no
// effect.
func (c *Client) untilDone(ctx context.Context, container, name string, want bool, request func() error) error {
	err := request()
	if err == nil || c.connected(ctx, container, name, err, want) {
		return nil
	}
	if !lost(ctx, err) {
		return err
	}
	if err = request(); err == nil || c.connected(ctx, container, name, err, want) {
		return nil
	}
	return err
}

// connected reports whether a refused request, or one whose answer was lost, has
// left what it wanted: another job was first. Engines have no status of their own
// for that.
func (c *Client) connected(ctx context.Context, container, name string, err error, want bool) bool {
	if ctx.Err() != nil || cerrdefs.IsNotFound(err) {
		return false
	}
	now, look := c.Inspect(ctx, container)
	return look == nil && slices.Contains(now.Networks, name) == want
}

// RemoveNetwork removes the networks of this name. A missing one is fine.
func (c *Client) RemoveNetwork(ctx context.Context, name string) error {
	have, err := c.Networks(ctx, name)
	if err != nil {
		return err
	}
	for _, n := range have {
		if _, err := c.api.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{}); err != nil && !cerrdefs.IsNotFound(err) {
			return c.refusal("remove network "+name, err)
		}
	}
	return nil
}
