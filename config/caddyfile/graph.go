package caddyfile

// maxGraphWork bounds the steps that the search for cycles takes in one Parse.
const maxGraphWork = 8 << 20

// graph is who imports whom. It never has a cycle.
type graph struct {
	ids   map[string]int
	to    [][]int
	edges map[[2]int]bool
	seen  []int // the number of the last search that saw a node
	count int
	work  int
}

// add adds an edge. It returns false, and adds nothing, if that would close a
// cycle or if the search for one takes too long.
func (g *graph) add(from, to string) bool {
	if g.ids == nil {
		g.ids, g.edges = map[string]int{}, map[[2]int]bool{}
	}
	a, b := g.id(from), g.id(to)
	if g.edges[[2]int{a, b}] {
		return true
	}
	g.count++
	if g.reaches(b, a) || g.work > maxGraphWork {
		return false
	}
	g.edges[[2]int{a, b}] = true
	g.to[a] = append(g.to[a], b)
	return true
}

func (g *graph) id(name string) int {
	id, ok := g.ids[name]
	if !ok {
		id = len(g.to)
		g.ids[name] = id
		g.to, g.seen = append(g.to, nil), append(g.seen, 0)
	}
	return id
}

func (g *graph) reaches(from, goal int) bool {
	for todo := []int{from}; len(todo) > 0; {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if n == goal {
			return true
		}
		if g.seen[n] == g.count {
			continue
		}
		g.seen[n] = g.count
		g.work += 1 + len(g.to[n])
		if g.work > maxGraphWork {
			return false
		}
		todo = append(todo, g.to[n]...)
	}
	return false
}
