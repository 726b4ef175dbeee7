/* Sockets that keep the bounds of messages. */
#include "contract.h"

#include <errno.h>
#include <string.h>

#ifndef FDP_SYSV

static const enum fdp_type types[] = {FDP_SEQPACKET, FDP_DGRAM};

static void too_long_stays(void) {
  for (int t = 0; t < 2; t++) {
    int pair[2], file = new_file();
    make_pair(types[t], pair);
    EQUAL(send_message(pair[0], 100, &file, 1), 1);
    struct fdp_demand demand = {1, 1, 1, FDP_MAX_FDS, 99};
    int before = open_count();
    for (int i = 0; i < 3; i++)
      EQUAL(fdp_receive(pair[1], in_bytes, &demand, &in), -EMSGSIZE);
    EQUAL(open_count(), before);
    demand.stride = 100;
    EQUAL(fdp_receive(pair[1], in_bytes, &demand, &in), 1);
    EQUAL(in.size[0], 100);
    EQUAL(in.count[0], 1);
    CHECK(is_same(in.fd[0], file));
    EQUAL(fdp_close(in.fd[0]), 0);
    EQUAL(fdp_close(file), 0);
    close_all(pair, 2);
  }
}

static void bounds_are_kept(void) {
  for (int t = 0; t < 2; t++) {
    int pair[2], file = new_file();
    make_pair(types[t], pair);
    EQUAL(send_message(pair[0], 5, NULL, 0), 1);
    EQUAL(send_message(pair[0], 0, &file, 1), 1); /* no bytes at all */
    EQUAL(send_message(pair[0], 7, &file, 1), 1);
    const int size[] = {5, 0, 7}, count[] = {0, 1, 1};
    for (int i = 0; i < 3; i++) {
      EQUAL(fdp_pending(pair[1]), 1);
      EQUAL(receive(pair[1], 1, 1, 1), 1);
      EQUAL(in.size[0], size[i]);
      EQUAL(in.count[0], count[i]);
      if (count[i]) {
        CHECK(is_same(in.fd[0], file));
        EQUAL(fdp_close(in.fd[0]), 0);
      }
    }
    EQUAL(receive(pair[1], 1, 1, 1), -EAGAIN);
    EQUAL(fdp_close(file), 0);
    close_all(pair, 2);
  }
}

static void empty_before_the_end(void) {
  int pair[2], file = new_file();
  make_pair(FDP_SEQPACKET, pair);
  EQUAL(send_message(pair[0], 0, &file, 1), 1);
  EQUAL(fdp_close(pair[0]), 0);
  EQUAL(receive(pair[1], 1, 1, 1), 1);
  EQUAL(in.count[0], 1);
  CHECK(is_same(in.fd[0], file));
  EQUAL(fdp_close(in.fd[0]), 0);
  EQUAL(receive(pair[1], 1, 1, 1), 0);
  EQUAL(fdp_close(file), 0);
  EQUAL(fdp_close(pair[1]), 0);
}

static void too_long_for_any_socket(void) {
  int pair[2], file = new_file();
  make_pair(FDP_SEQPACKET, pair);
  EQUAL(send_message(pair[0], 1 << 22, &file, 1), -EMSGSIZE);
  EQUAL(fdp_pending(pair[1]), -EAGAIN);
  EQUAL(fdp_close(file), 0);
  close_all(pair, 2);
}

static void refused_datagram(void) {
  int pair[2], file = new_file();
  make_pair(FDP_DGRAM, pair);
  EQUAL(fdp_close(pair[1]), 0);
  EQUAL(send_message(pair[0], 1, &file, 1), -ECONNREFUSED);
  EQUAL(fdp_check(file), 0);
  EQUAL(fdp_close(file), 0);
  EQUAL(fdp_close(pair[0]), 0);
}

#endif

const struct test packet_tests[] = {
#ifndef FDP_SYSV
    {"a packet longer than its room is EMSGSIZE, and stays with its descriptors", too_long_stays},
    {"packets keep their bounds, also without bytes", bounds_are_kept},
    {"a packet without bytes before the end brings its descriptor", empty_before_the_end},
    {"a packet longer than any buffer is EMSGSIZE", too_long_for_any_socket},
    {"a datagram whose receiver has gone is ECONNREFUSED", refused_datagram},
#endif
    {0}};
