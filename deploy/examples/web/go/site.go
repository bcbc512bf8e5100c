// A site in Go whose hero Lever chooses over gRPC.
//
//	go run .
//
// LEVER_SERVER and LEVER_KEY say where Lever is, PORT is the site's own. Without an answer the page shows its own
// default, in time.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"html/template"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"lever"
	pb "lever/v1"
)

var page = template.Must(template.New("page").Parse(`<!doctype html><title>Ledgerly</title>
<main data-variant="{{.Arm}}"><h1>{{.Hero.Headline}}</h1><p>{{.Hero.Text}}</p>
<form method="post" action="/start"><input type="hidden" name="decision" value="{{.Decision}}"><button>{{.Hero.Button}}</button></form></main>`))

var fallback = &pb.SelectResponse{
	Arm:         "calm",
	PayloadJson: `{"headline": "Invoicing that runs itself", "text": "Everything in one place.", "button": "See how it works"}`,
}

type hero struct{ Headline, Text, Button string }

type site struct{ lever *lever.Client }

// home is the page. A visitor is a random id in a cookie.
func (s *site) home(answer http.ResponseWriter, request *http.Request) {
	subject := rand.Text()
	if cookie, err := request.Cookie("visitor"); err == nil {
		subject = cookie.Value
	}
	made, err := s.lever.Select(request.Context(), &pb.SelectRequest{Experiment: "page-hero", Subject: subject}, fallback)
	if err != nil {
		log.Print(err)
	}
	var shown hero
	if err := json.Unmarshal([]byte(made.PayloadJson), &shown); err != nil {
		log.Print(err)
	}
	cookie := &http.Cookie{Name: "visitor", Value: subject, MaxAge: 30 * 86400, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	http.SetCookie(answer, cookie)
	answer.Header().Set("content-type", "text/html; charset=utf-8")
	_ = page.Execute(answer, map[string]any{"Arm": made.Arm, "Hero": shown, "Decision": made.DecisionId})
}

// start is the button. The reward leaves in the background: nobody waits for it.
func (s *site) start(answer http.ResponseWriter, request *http.Request) {
	if err := s.lever.Reward(&pb.RewardRequest{DecisionId: request.PostFormValue("decision"), Metric: "click"}); err != nil {
		log.Print(err)
	}
	http.Redirect(answer, request, "/", http.StatusSeeOther)
}

func main() {
	client, err := lever.New(cmp.Or(os.Getenv("LEVER_SERVER"), "localhost:50051"), lever.Options{Key: os.Getenv("LEVER_KEY")})
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+cmp.Or(os.Getenv("PORT"), "3000"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s\n", listener.Addr())
	pages := &site{lever: client}
	http.HandleFunc("GET /{$}", pages.home)
	http.HandleFunc("POST /start", pages.start)
	go func() { log.Print(http.Serve(listener, nil)) }()

	ended, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	<-ended.Done()
	flush, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := client.Close(flush); err != nil { // sends what was not sent yet
		log.Fatal(err)
	}
}
