package engine

import (
	"fmt"
	"text/template"
	"text/template/parse"
)

// stepName is the function that counts. Every definition calls it when it
// begins, and every loop in each round, so that an execution ends although its
// template does not.
const stepName = "_step"

// maxSteps is how many steps an execution may take, those of what it includes
// among them.
const maxSteps = 1_000_000

func (c *Context) step(most int) (string, error) {
	if c.run.steps++; c.run.steps > most {
		return "", fmt.Errorf("the template runs for too long: more than %d steps", most)
	}
	return "", c.ctx.Err()
}

// countSteps puts the calls into all definitions of a template that has just been
// parsed.
func countSteps(t *template.Template) {
	for _, each := range t.Templates() {
		if each.Tree != nil {
			countIn(each.Tree.Root)
			prepend(each.Tree.Root)
		}
	}
}

func countIn(list *parse.ListNode) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.RangeNode:
			countIn(n.List)
			countIn(n.ElseList)
			prepend(n.List)
		case *parse.IfNode:
			countIn(n.List)
			countIn(n.ElseList)
		case *parse.WithNode:
			countIn(n.List)
			countIn(n.ElseList)
		}
	}
}

func prepend(list *parse.ListNode) {
	call := &parse.CommandNode{NodeType: parse.NodeCommand, Pos: list.Pos, Args: []parse.Node{parse.NewIdentifier(stepName).SetPos(list.Pos)}}
	pipe := &parse.PipeNode{NodeType: parse.NodePipe, Pos: list.Pos, Cmds: []*parse.CommandNode{call}}
	action := &parse.ActionNode{NodeType: parse.NodeAction, Pos: list.Pos, Pipe: pipe}
	list.Nodes = append([]parse.Node{action}, list.Nodes...)
}
