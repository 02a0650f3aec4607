// Opens signed notes with golang.org/x/mod/sumdb/note, which knows nothing of Baton.
//
//	note VERIFIER-KEY < signed note              prints the text, if the key has signed it
//	note VERIFIER-KEY SIGNER-KEY < signed note   prints the note with the signature of the second key added
//
// It fails if the note is malformed, or not signed by the first key.
package main

import (
	"fmt"
	"io"
	"log"
	"os"

	"golang.org/x/mod/sumdb/note"
)

func main() {
	log.SetFlags(0)
	signed, err := io.ReadAll(os.Stdin)
	check(err)
	verifier, err := note.NewVerifier(os.Args[1])
	check(err)
	opened, err := note.Open(signed, note.VerifierList(verifier))
	check(err)
	if len(os.Args) == 2 {
		fmt.Print(opened.Text)
		return
	}
	signer, err := note.NewSigner(os.Args[2])
	check(err)
	signed, err = note.Sign(opened, signer)
	check(err)
	fmt.Printf("%s", signed)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
