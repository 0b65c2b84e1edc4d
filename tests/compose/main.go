// Command compose loads a compose file, with the profiles that follow it, as `docker compose config --services` does:
// with the library that it is made of.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	options, err := cli.NewProjectOptions(os.Args[1:2], cli.WithProfiles(os.Args[2:]), cli.WithOsEnv)
	if err == nil {
		project, failed := options.LoadProject(context.Background())
		if err = failed; err == nil {
			fmt.Println(strings.Join(project.ServiceNames(), "\n"))
			return
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
