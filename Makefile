# sluice: build, run, test. `make help` lists the targets.

GO      ?= go
BIN     := bin/sluice
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X main.version=$(VERSION)
PREFIX  ?= /usr/local
IMAGE   ?= sluice

.PHONY: help build dist run test race lint generate check bench fuzz e2e soak deps install deb image

help: ## show this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

build: ## build bin/sluice
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/sluice

dist: ## build bin/sluice as packages have it: static, without debug information
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w $(LDFLAGS)' -o $(BIN) ./cmd/sluice

run: build ## build and start the server on its embedded store
	./$(BIN) run --first-steps

deps: ## install what tests need, or say what is missing and how to get it
	@GO=$(GO) sh internal/deps/deps.sh

test: deps ## run every test
	$(GO) vet ./...
	$(GO) test -timeout 9m ./...

race: deps ## run every test with the race detector
	$(GO) test -race -timeout 20m ./...

lint: ## check formatting and vet
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo 'not gofmt-ed:'; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...

generate: ## write api-docs/ and schema/comments.json
	$(GO) run ./cmd/sluice-gen

check: lint generate ## fail if generated files are stale
	git diff --exit-code -- api-docs schema

bench: build ## measure: Go benchmarks, and sluice beside installed peers
	$(GO) test -run '^$$' -bench . -benchmem ./config/... ./handlers/... ./server/... ./storage/... ./upstream/... ./internal/bench
	$(GO) run ./internal/bench -bin $(BIN)

fuzz: ## run each fuzz target for a minute
	@sh internal/deps/fuzz.sh 60s

e2e: build ## run the end-to-end transcripts
	$(GO) test -count=1 ./internal/e2e/...

soak: build ## long tests: 300 kills, a minute of random edits under load with -race, five minutes of faulty upstreams, 2,000 slow clients, ten minutes of each fuzz target
	SLUICE_KILLS=300 SLUICE_SOAK=60s $(GO) test -race -count=1 -timeout 30m -run 'Kill|Soak' ./...
	SLUICE_FAULTS=5m $(GO) test -v -count=1 -timeout 15m -run 'TestFaults$$' ./internal/e2e
	SLUICE_SLOW=2000 $(GO) test -v -count=1 -timeout 10m -run 'TestSlowClients|Floods|RapidReset' ./internal/e2e
	@sh internal/deps/fuzz.sh 10m

# As root it is built by whoever ran make before, since sudo may have no Go.
install: ## install bin/sluice, its manual, completions and units below PREFIX (/usr/local); DESTDIR is put in front
	@test -x $(BIN) || $(MAKE) build
	sh internal/packaging/install.sh $(BIN) $(PREFIX) $(DESTDIR)

deb: dist ## make the Debian package, beside the program in bin/
	@GO=$(GO) sh internal/deps/nfpm.sh
	GO=$(GO) sh internal/packaging/deb.sh $(BIN) $(VERSION) $(dir $(BIN))

image: ## make the container image IMAGE (sluice), with Docker and buildx
	docker build --file internal/packaging/Dockerfile --build-arg VERSION=$(VERSION) --tag $(IMAGE):$(subst +,-,$(VERSION)) --tag $(IMAGE):latest .
