// Asks with OpenAI's own client for Go, and prints what it got. Called with: URL KEY EXPECTED_FILE GRPC_ADDRESS.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

type moderation struct {
	Flagged bool            `json:"flagged"`
	Scores  json.RawMessage `json:"scores"`
}

type refusal struct {
	Status int    `json:"status"`
	Type   string `json:"type"`
	Code   string `json:"code"`
	Param  string `json:"param"`
}

var (
	ctx   = context.Background()
	asked struct {
		Texts []string `json:"texts"`
		Long  string   `json:"long"`
	}
)

func main() {
	must(json.Unmarshal(of(os.ReadFile(os.Args[3])), &asked))
	key := option.WithAPIKey(os.Args[2])
	client := connect(key)
	must(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"default":     numbers(client, ""),
		"float":       numbers(client, "float"),
		"base64":      base64(client),
		"moderations": moderated(client),
		"models":      listed(client),
		"model":       of(client.Models.Get(ctx, "tiny")).ID,
		"errors": map[string]refusal{
			"model":     refused(embed(client, "nothing", "", asked.Texts...)),
			"window":    refused(embed(client, "tiny", "", asked.Texts[0], asked.Long)),
			"wrong key": refused(embed(connect(option.WithAPIKey("another-key-than-that-one")), "tiny", "", asked.Texts...)),
			"no key":    refused(embed(connect(), "tiny", "", asked.Texts...)),
		},
	}))
}

func connect(options ...option.RequestOption) openai.Client {
	return openai.NewClient(append(options, option.WithBaseURL(os.Args[1]+"/v1"), option.WithMaxRetries(0))...)
}

func embed(client openai.Client, model, format string, texts ...string) (*openai.CreateEmbeddingResponse, error) {
	return client.Embeddings.New(ctx, openai.EmbeddingNewParams{
		Model:          model,
		Input:          openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: texts},
		EncodingFormat: openai.EmbeddingNewParamsEncodingFormat(format),
	})
}

func numbers(client openai.Client, format string) (vectors [][]float64) {
	for _, each := range of(embed(client, "tiny", format, asked.Texts...)).Data {
		vectors = append(vectors, each.Embedding)
	}
	return vectors
}

// The client has a field for numbers alone; what else was written is in the JSON of that field.
func base64(client openai.Client) (vectors []json.RawMessage) {
	for _, each := range of(embed(client, "tiny", "base64", asked.Texts...)).Data {
		vectors = append(vectors, json.RawMessage(each.JSON.Embedding.Raw()))
	}
	return vectors
}

// As with base64: the client has fields for OpenAI's own categories alone.
func moderated(client openai.Client) (moderations []moderation) {
	answer := of(client.Moderations.New(ctx, openai.ModerationNewParams{
		Model: "judge",
		Input: openai.ModerationNewParamsInputUnion{OfStringArray: asked.Texts},
	}))
	for _, each := range answer.Results {
		moderations = append(moderations, moderation{each.Flagged, json.RawMessage(each.CategoryScores.RawJSON())})
	}
	return moderations
}

func listed(client openai.Client) (names []string) {
	models := client.Models.ListAutoPaging(ctx)
	for models.Next() {
		names = append(names, models.Current().ID)
	}
	must(models.Err())
	return names
}

func refused(_ *openai.CreateEmbeddingResponse, err error) refusal {
	var failed *openai.Error
	if !errors.As(err, &failed) {
		panic("it was not refused")
	}
	return refusal{failed.StatusCode, failed.Type, failed.Code, failed.Param}
}

func of[T any](value T, err error) T {
	must(err)
	return value
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
