// Package e2e runs the program as its users do: the commands of the README, and
// stories told in transcripts, against the real binary.
//
// A transcript is a file testdata/*.txt, so that a bug report becomes a file. It
// is a list of steps, each with what must hold after it, separated by empty
// lines; a line that begins with # is a comment:
//
//	write NAME              writes a file: the lines that follow, up to a line "."
//	copies NAME N TEXT      writes a file of N times the text
//	env NAME=VALUE          sets a variable for the programs started from now on
//	start ARGS              runs "sluice run ARGS" and waits until the API answers
//	stop, kill              ends it, gently (the exit code must be 0) or not
//	ended                   waits until it ends by itself, with exit code 0
//	signal NAME             sends HUP, USR1 or USR2
//	run ARGS                runs "sluice ARGS" to its end
//	METHOD URL              sends a request: header lines, then after an empty
//	                        line a body, then "-- STATUS"
//	raw PORT                sends the lines that follow, up to "-- STATUS", over a
//	                        connection of its own
//	log TEXT                waits until the server's log contains the text
//	nolog TEXT              the server's log does not contain it
//	file NAME TEXT          waits until a file contains the text; the name may have "*"
//	nofile NAME TEXT        no such file contains it
//	occupy PORT             listens on a port, until "release PORT"
//
// What may stand below a request:
//
//	body TEXT               the whole body, decompressed, without its final newline
//	body~ TEXT              a part of it
//	nobody~ TEXT            not a part of it
//	header NAME: TEXT       a header field; an empty text means that it is absent
//	header~ NAME: TEXT      a part of one
//	json POINTER VALUE      a value in a JSON body
//	closes                  the connection ends with the response
//	save NAME HEADER        $NAME is that header field from now on
//
// and below a run:
//
//	exit CODE               the exit code; 0 if not given
//	stdout~ TEXT, stderr~ TEXT
//	                        a part of the output; stdout is all of it
//
// Variables: $ADMIN is the URL of the API and $ADMINADDR its address, $P1 to $P6
// are free ports, $DIR is the directory of the story, $UP1 and $UP2 are the addresses
// of upstreams that answer with what they got.
package e2e
