#include "birth/be_jailed.h"

#include <cstdio>

#include "birth/jail.h"
#include "process/crash_handlers.h"
#include "process/hardening.h"

namespace volley {

std::optional<volley_shell_report> be_jailed(BirthSocket& birth, int* exit_code) {
  *exit_code = 1;
  if (!birth.is_there()) {
    fprintf(stderr, "A VMM is started by hostd, which passes all it needs by descriptor.\n");
    return std::nullopt;
  }
  close_all_from(VOLLEY_FD_BIRTH + 1);
  install_crash_handlers();
  ignore_harmless_signals();
  use_crash_stack(0);

  volley_jail_order order{};
  InheritedFds namespaces;
  Status why = Status::ok();
  switch (birth.receive(&order, &namespaces, &why)) {
    case BirthSocket::Received::kAgentGone:
      *exit_code = 0;
      return std::nullopt;
    case BirthSocket::Received::kBroken:
      birth.report(refused(why));
      return std::nullopt;
    case BirthSocket::Received::kOrder:
      break;
  }
  const volley_shell_report report = enter_jail(order, namespaces);
  namespaces.close_all();
  birth.report(report);
  if (report.status != 0) return std::nullopt;
  return report;
}

}  // namespace volley
