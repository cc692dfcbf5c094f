// Package hooks runs the commands that the configuration names for changes of
// role of VRRP instances.
//
//	Post(Event) ──▶ queue file (runtime directory) ──▶ lane of the instance ──▶ one process at a time
//	                  survives this process              in order                 deadline, own group,
//	                                                                              no capabilities
//
// An event is in the file before Post returns and leaves it when its command
// has ended: a director that is started again runs what is left, in order. A
// command that was running when its director died is run again, so commands
// must bear being told the same twice.
//
// A command gets a clean environment with LVS_HA_* variables, and after its
// own arguments the four that keepalived appends: INSTANCE, the name, MASTER,
// BACKUP, FAULT or STOP, and the priority. It has none of our capabilities,
// whatever user it runs as. Its whole process group is killed at its deadline,
// and when it ends, so that the next command does not meet the last one's rest.
package hooks
