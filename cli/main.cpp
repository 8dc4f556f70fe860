#include "cli/command.hpp"

int main(int argc, char** argv) { return recalld::cli::run(argc, argv); }
